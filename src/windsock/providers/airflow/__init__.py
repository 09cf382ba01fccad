"""Apache Airflow 2.x (/api/v1) and 3.x (/api/v2) as a provider."""

from windsock.providers.airflow.airflow import Airflow
from windsock.providers.airflow.auth import token_key
from windsock.providers.airflow.config import AirflowConfig, Credentials
from windsock.providers.airflow.diagnose import Diagnosis, diagnose
from windsock.providers.airflow.errors import WrongApiVersion
from windsock.providers.airflow.links import pipeline_url, run_url, task_run_url
from windsock.providers.airflow.tokens import TokenCache

__all__ = [
    "Airflow",
    "AirflowConfig",
    "Credentials",
    "Diagnosis",
    "TokenCache",
    "WrongApiVersion",
    "diagnose",
    "pipeline_url",
    "run_url",
    "task_run_url",
    "token_key",
]
