"""Data contracts: what a spec promises of its data, held against the data by Great Expectations in SQL."""

from include.validation.results import store_report
from include.validation.run import validate

__all__ = ["store_report", "validate"]
