-- Task loops of Airflow 3.4: the region is part of the identity of a task run.
SELECT 1;
