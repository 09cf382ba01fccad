"""Apache Airflow 2.x (/api/v1) and 3.x (/api/v2) as a provider."""

from windsock.providers.airflow.airflow import Airflow
from windsock.providers.airflow.auth import token_key
from windsock.providers.airflow.config import AirflowConfig, Credentials, ReadLogs, read_logs_setting
from windsock.providers.airflow.diagnose import Diagnosis, diagnose
from windsock.providers.airflow.errors import WrongApiVersion
from windsock.providers.airflow.links import pipeline_url, run_url, task_run_url
from windsock.providers.airflow.tokens import TokenCache
from windsock.providers.airflow.tracebacks import format_exceptions
from windsock.providers.airflow.tries import ENDED_STATES

__all__ = [
    "ENDED_STATES",
    "Airflow",
    "AirflowConfig",
    "Credentials",
    "Diagnosis",
    "ReadLogs",
    "TokenCache",
    "WrongApiVersion",
    "diagnose",
    "format_exceptions",
    "pipeline_url",
    "read_logs_setting",
    "run_url",
    "task_run_url",
    "token_key",
]
