"""Windsock: makes Apache Airflow visible to everybody who depends on it."""

__version__ = "0.1.0"
