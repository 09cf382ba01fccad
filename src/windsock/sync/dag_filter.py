"""The DAG filter of a connector: include and exclude by name, include by tag."""

from fnmatch import fnmatchcase

from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.base import ProviderPipeline, SkippedRow


def is_included(pipeline: ProviderPipeline, config: AirflowConfig) -> bool:
    """By name, and by tag."""
    return _is_named(pipeline.external_id, config) and (
        not config.include_tags
        or any(fnmatchcase(tag, pattern) for tag in pipeline.tags for pattern in config.include_tags)
    )


def may_be_included(row: SkippedRow, config: AirflowConfig) -> bool:
    """By name; its tags are not known."""
    return row.pipeline_external_id is None or _is_named(row.pipeline_external_id, config)


def _is_named(dag_id: str, config: AirflowConfig) -> bool:
    if any(fnmatchcase(dag_id, pattern) for pattern in config.exclude_dags):
        return False
    return not config.include_dags or any(fnmatchcase(dag_id, pattern) for pattern in config.include_dags)
