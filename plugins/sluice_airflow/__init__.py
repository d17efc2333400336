"""What Sluice's DAGs need of Airflow beyond wiring: alerts, retries, pages, partitions, assets.

Light to import: DAG files load it at parse.
"""
