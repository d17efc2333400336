"""The library of Sluice. It imports neither Airflow nor Flask. Read `include/pipeline.py` first."""
