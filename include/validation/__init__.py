"""Data contracts: what a spec promises of its data, checked by Great Expectations in SQL."""

from include.validation.results import passed_validations, store_report
from include.validation.run import validate

__all__ = ["passed_validations", "store_report", "validate"]
