"""A DAG file that cannot be imported: its vendor's package is not installed. It must not harm the others."""

from __future__ import annotations

from airflow.decorators import dag
from vendor_sdk_not_installed import Feed


@dag(schedule=None)  # noqa: AIR311 - the import works on Airflow 2 too, so that the error is the vendor's on both
def vendor_feed():
    Feed("prices").task()


vendor_feed()
