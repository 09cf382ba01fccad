"""An Airflow in memory that lives on while it is read and misbehaves on purpose; checked against real ones."""
