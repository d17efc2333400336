"""All code that knows Airflow: tasks, alerts, retries, DAG documentation, partitions, assets.

Light to import: DAG files load it at parse.
"""
