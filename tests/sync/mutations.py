"""The mutations of the sync that the property test must notice: each breaks it in one way that matters."""

from mutation_testing.mutation import Mutation

MUTATIONS = (
    Mutation(
        "pages advance by the limit, not by the rows received",
        "providers/airflow/paged_scan.py",
        "end = offset + part.received",
        "end = offset + self._limits.page",
    ),
    Mutation(
        "the watermark is our clock at the end of the pass",
        "sync/incremental.py",
        "self._watermark, self.is_behind = point.until or as_of, point.until is not None",
        "self._watermark, self.is_behind = datetime.now(UTC), False",
    ),
    Mutation(
        "no overlap before the watermark", "sync/incremental.py", "timedelta(seconds=120)", "timedelta(seconds=0)"
    ),
    Mutation(
        "task runs are not asked for what changed, only runs are",
        "sync/incremental.py",
        'session.track_pages("task_runs", self._provider.task_runs(scope, resume), scope)',
        'session.track_pages("task_runs",'
        " self._provider.task_runs(UpdatedSince(datetime.now(UTC) + timedelta(days=9))), scope)",
    ),
    Mutation(
        "a pass that broke off moves the watermark too",
        "sync/state.sql",
        "watermark = CASE WHEN %(is_complete)s THEN %(watermark)s::timestamptz ELSE watermark END",
        "watermark = CASE WHEN %(is_complete)s THEN %(watermark)s::timestamptz"
        " ELSE watermark + interval '10 minutes' END",
    ),
    Mutation(
        "what is missing once is gone, also in a pass that breaks off",
        "sync/deletions.sql",
        "AND x.space_id = %(space_id)s AND x.id = r.id\n)\nUPDATE runs x SET {set_missing_marks}",
        "AND x.space_id = %(space_id)s AND x.id = r.id\n)\nUPDATE runs x SET removed_at = now(), {set_missing_marks}",
    ),
    Mutation(
        "a pass that broke off is the first of the two looks that it takes",
        "sync/deletions.sql",
        "WHERE s.space_id = %(space_id)s AND s.id = x.missing_since_sync_id AND s.status = 'complete') AS is_again",
        "WHERE s.space_id = %(space_id)s AND s.id = x.missing_since_sync_id) AS is_again",
    ),
    Mutation(
        "what is missing for the first time is not looked for again soon",
        "sync/sync_pass.py",
        "            recheck_due=recheck_due,\n",
        "            recheck_due=False,\n",
    ),
    Mutation(
        "a loss of many pipelines at once is not held back",
        "sync/safeguards.py",
        "if is_much or (lost and lost == known):",
        "if lost < 0:",
    ),
    Mutation(
        "another Airflow is not recognised",
        "sync/safeguards.py",
        "if disagree < MIN_SAMPLES:",
        "if disagree < MIN_SAMPLES * 9:",
    ),
    Mutation(
        "what came back into sight is not read again",
        "sync/writer.sql",
        "OR (%(backfill_started)s"
        " AND (pipelines.missing_since_sync_id IS NOT NULL OR pipelines.removed_at IS NOT NULL)),",
        "OR false,",
    ),
    Mutation(
        "fewer rows than promised are taken for all",
        "providers/airflow/completeness.py",
        "return 0 if self.least is None else max(0, self.least - self.grown - self.rows_seen)",
        "return 0",
    ),
    Mutation(
        "the placeholder of a mapped task stays beside its instances",
        "sync/writer.py",
        'await tx.execute(QUERIES["drop_placeholders"], **self._space, keys=keys)',
        "",
    ),
    Mutation(
        "the placeholder of a mapped task goes with what was said about it",
        "sync/writer.py",
        'await tx.execute(QUERIES["expand_placeholders"], **self._space, keys=keys)',
        "",
    ),
    Mutation(
        "the iteration is no part of what identifies a task run",
        "providers/airflow/dialect.py",
        "region = (row.region_id, row.region_index)",
        "region = (row.region_id,)",
    ),
    Mutation(
        "a sync sets the criticality of what it stores",
        "sync/writer.sql",
        "SET name = excluded.name, description",
        "SET criticality = 'medium', name = excluded.name, description",
    ),
    Mutation(
        "an interrupted first sync takes its watermark from the pass that ended it",
        "sync/sync_pass.py",
        "return history, await self._poll(as_of, checkpoint=False) if is_due else as_of",
        "return history, listed_at",
    ),
    Mutation(
        "a sweep that was broken off and went on is called true as of its end",
        "sync/incremental.py",
        "if point and not self.is_behind:",
        "if False:",
    ),
    Mutation(
        "entries of the log are noted as seen before they are followed",
        "sync/incremental.py",
        "        hints = await self._hints()\n        if hints.pipelines_changed",
        "        hints = await self._hints()\n"
        "        async with self._session.transaction() as tx:\n"
        "            seen = {'is_readable': hints.processed_ids is not None, 'recheck_ids': hints.recheck_ids}\n"
        "            seen['processed_ids'] = hints.processed_ids or []\n"
        "            from psycopg.types.json import Jsonb\n"
        "            await tx._connection.execute('UPDATE sync_states SET event_log_cursor = %s', (Jsonb(seen),))\n"
        "        if hints.pipelines_changed",
    ),
    Mutation(
        "runs that have come back stay removed",
        "sync/writer.sql",
        "triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,\n"
        "        missing_since_sync_id = NULL, deleted_by_sync_id = NULL, removed_at = NULL, archived_at = NULL,",
        "triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,\n       ",
    ),
    Mutation(
        "a column is left out of what tells whether a row has changed",
        "sync/writer.sql",
        "e.queue, e.hostname, e.note, e.provider_metadata)",
        "e.queue, e.hostname, i.note, e.provider_metadata)",
    ),
    Mutation(
        "each run that changed is fetched once more by itself",
        "sync/incremental.py",
        "await session.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})\n"
        "                note_revisions",
        "for run in page.rows:\n"
        "                    for _ in range(4):\n"
        "                        await self._provider.run(run.pipeline_external_id, run.external_id)\n"
        "                await session.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})\n"
        "                note_revisions",
    ),
    Mutation(
        "any 404 at the address of a run is taken for its deletion",
        "providers/airflow/lookup.py",
        "    if not has_address(dag_id, run_id):\n"
        "        raise _AddressUnusable(_NO_ADDRESS)\n"
        "    path = f\"{dialect.root}/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}\"\n"
        "    try:\n"
        "        body = (await ask(path, {})).body\n"
        "    except ProviderFailed as failure:\n"
        "        if _is_missing(failure, dag_id, run_id):\n",
        "    path = f\"{dialect.root}/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}\"\n"
        "    try:\n"
        "        body = (await ask(path, {})).body\n"
        "    except ProviderFailed as failure:\n"
        "        if failure.status == HTTPStatus.NOT_FOUND:\n",
    ),
    Mutation(
        "a run id that is used again is taken for the run that had it",
        "sync/writer.sql",
        "SELECT i.*, e.id AS existing_id, {is_another} AS is_another,",
        "SELECT i.*, e.id AS existing_id, false AS is_another,",
    ),
    Mutation(
        "what the mirror takes for unfinished is not asked for again",
        "sync/unfinished.py",
        "    if not believed:",
        "    if believed is not None:",
    ),
    Mutation(
        "the large mode is never left",
        "sync/polling.py",
        'return "small" if is_quick or is_small else mode',
        "return mode",
    ),
    Mutation(
        "a pipeline that is read by itself keeps the watermark of all",
        "sync/per_dag.py",
        "since = min(watermark, session.state.verified_watermark or watermark) - OVERLAP",
        "since = (self._provider.as_of or watermark) - OVERLAP",
    ),
    Mutation(
        "a row is skipped silently",
        "sync/skips.py",
        "        for row in rows:\n            scope = self._scopes.get(row.kind) if is_listed else None",
        "        for row in list(rows)[:0]:\n            scope = self._scopes.get(row.kind) if is_listed else None",
    ),
    Mutation(
        "a mirrored row that cannot be read counts as missing",
        "sync/skips.py",
        '        return {row["id"] for row in rows}',
        '        return {row["id"] for row in rows[:0]}',
    ),
    Mutation(
        "rows that could not be read are never read again",
        "sync/reread.py",
        "    if not due:\n        return",
        "    if True:\n        return",
    ),
    Mutation(
        "a difference of clocks corrects no pipeline that is read by itself",
        "sync/clock_correction.py",
        "if corrected and session.state.is_per_dag:",
        "if False:",
    ),
    Mutation(
        "totals are compared by every second sync where the log may not be read",
        "sync/incremental.py",
        "is_cut = hints.processed_ids is not None and not hints.is_complete",
        "is_cut = not hints.is_complete",
    ),
    Mutation(
        "an idle sync asks who answers",
        "sync/sync_pass.py",
        "if has_moved or state.failures > 0 or state.quarantine is not None:",
        "if True:",
    ),
)
