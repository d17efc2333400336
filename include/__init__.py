"""The library of Sluice: no Airflow and no Flask in it. Read `include/pipeline.py` first."""
