"""Reads what is due of the table failure_reads in every worker process: of each connector one log at a time."""

from windsock.db.job_queue import JobQueue
from windsock.failures.reader import QUERIES, FailureReader

MAX_AT_ONCE = 4
"""Connectors whose logs one process reads at the same time; each holds the end of a log in memory."""


class FailureJobs(JobQueue):
    def __init__(self, reader: FailureReader) -> None:
        super().__init__(reader.db, QUERIES["list_due_reads"], reader.read, name="failure reads", limit=MAX_AT_ONCE)
