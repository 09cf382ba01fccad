"""The API at the size of a fleet, against the conventional stack, the floor and Airflow itself."""
