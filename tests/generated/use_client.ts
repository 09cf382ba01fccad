// Uses the client that openapi-generator makes of the document for TypeScript; prints what it got.
import {
  CommentsApi, Configuration, ConnectorsApi, Criticality, PipelinesApi, ResponseError, RunsApi, SpacesApi,
} from "./client/index.ts";

const [basePath, key] = Deno.args;
const configuration = new Configuration({ basePath, accessToken: key });
const slug = "finance";
const pipelines = new PipelinesApi(configuration);
const runs = new RunsApi(configuration);
const connectors = new ConnectorsApi(configuration);

const found = await pipelines.listPipelines({ slug, criticality: [Criticality.Medium], sort: "name", size: 2 });
const pipelineId = found[0].id;
const changed = await pipelines.updatePipelineCriticality({
  slug, pipelineId, criticalityChange: { criticality: Criticality.Critical },
});
const failed = await runs.listRuns({ slug, status: ["failed"], criticality: [Criticality.Critical] });
const run = await runs.getRun({ slug, runId: failed[0].id });
const comment = await new CommentsApi(configuration).createRunComment({
  slug, runId: run.id, commentIn: { content: "typed" },
});
const started = await pipelines.triggerPipeline({ slug, pipelineId, triggerIn: { conf: { a: 1 } } });
const airflow = await connectors.createConnector({
  slug,
  connectorIn: {
    name: "generated in TypeScript",
    connectorType: "airflow",
    config: { baseUrl: "http://127.0.0.1:9", historyDays: 7 },
    credentials: { authType: "password", username: "a", password: "b" },
  },
});
const other = await connectors.createConnector({
  slug,
  connectorIn: { name: "other in TypeScript", connectorType: "dbt", config: { any: [1] } },
});
const members = await new SpacesApi(configuration).listMembers({ slug });
let missing: unknown = null;
try {
  await runs.getRun({ slug, runId: "00000000-0000-0000-0000-000000000000" });
} catch (error) {
  if (error instanceof ResponseError) missing = [error.response.status, (await error.response.json()).detail];
}
console.log(JSON.stringify({
  pipelines: found.map((one) => one.name),
  criticality: changed.criticality,
  runs: failed.map((one) => one.status),
  tasks: run.taskRuns.map((task) => task.name).sort(),
  author: [comment.content, comment.author?.name],
  started: [started.pipelineId === pipelineId, started.conf],
  airflow: [airflow.config.baseUrl, airflow.config.historyDays, airflow.config.verifyTls],
  other: other.connectorType,
  roles: [...new Set(members.map((one) => one.role))].sort(),
  missing,
}));
