"""Data contracts: what a spec promises of its data, checked by Great Expectations in SQL."""

from include.validation.contract import column_differences
from include.validation.results import passed_validations, store_report
from include.validation.run import find_broken_rules, validate

__all__ = ["column_differences", "find_broken_rules", "passed_validations", "store_report", "validate"]
