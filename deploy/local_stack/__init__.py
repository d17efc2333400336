"""The local stack behind `make run`: what is started, in which order, and how it is stopped again.

Airflow is driven as people drive it, by its commands and its REST API; nothing here imports it.
"""
