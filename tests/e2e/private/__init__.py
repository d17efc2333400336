"""Tests that have an Airflow to themselves; a package, so that it is stopped when they are done."""
