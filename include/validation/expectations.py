"""Runs checks with Great Expectations, and returns their results.

Import it only inside a task: the library takes seconds to load. It is configured to send no usage
statistics and to draw no progress bars.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from include.inference.feature_types.column_checks import Check
from include.validation.scratch import SCHEMA, Scratch, session_of


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """The result of one check."""

    passed: bool
    failing_count: int = 0
    observed: str | None = None
    error: str | None = None


def run_checks(checks: Mapping[int, Check], scratch: Scratch, name: str) -> dict[int, ExpectationResult]:
    """Run the checks as one suite over the scratch table's view, in SQL; return their results by number."""
    with _quiet():
        context = _context()
        server = scratch.engine.dialect.server_version_info or (0,)
        source = context.data_sources.add_sql(
            "warehouse",
            connection_string=scratch.engine.url.render_as_string(hide_password=False),
            kwargs={"connect_args": session_of(scratch.engine.url, int(server[0]))},
        )
        try:
            asset = source.add_table_asset(name, table_name=scratch.view, schema_name=SCHEMA)
            results = _run(context, asset.add_batch_definition_whole_table("rows"), checks, name)
        finally:
            source.get_engine().dispose()
    return {result.expectation_config.meta["number"]: _outcome(result) for result in results.results}


def _context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        store_backend_defaults=InMemoryStoreBackendDefaults(),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _run(context: Any, batch: Any, checks: Mapping[int, Check], name: str) -> Any:
    import great_expectations as gx
    from great_expectations.expectations.registry import get_expectation_impl

    expectations = []
    for number, check in checks.items():
        whole = check.column is None or "column_list" in check.options
        column = {} if whole else {"column": check.column}
        build: Any = get_expectation_impl(check.expectation)
        expectations.append(build(**column, **check.options, meta={"number": number}))
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    # Counts only: the offending keys are asked for by ourselves, so that no more than 20 ever travel.
    return definition.run(result_format={"result_format": "BASIC", "partial_unexpected_count": 0})


def _outcome(result: Any) -> ExpectationResult:
    facts = result.result or {}
    observed = facts.get("observed_value")
    return ExpectationResult(
        passed=bool(result.success),
        failing_count=int(facts.get("unexpected_count") or 0),
        observed=None if observed is None else str(observed),
        error=_error(result.exception_info),
    )


def _error(info: Any) -> str | None:
    """Return the first message in `info`, which holds one exception, or several by the metric that raised them."""
    if not isinstance(info, dict):
        return None
    if info.get("raised_exception"):
        return str(info.get("exception_message") or "an error without a message").splitlines()[0]
    return next((message for part in info.values() if (message := _error(part)) is not None), None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's remarks on its own workings out of the task's log."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
