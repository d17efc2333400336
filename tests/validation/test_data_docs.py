"""The pages of a run, by names that anybody may have made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.records import CheckResult, Period, ValidationReport
from include.validation.data_docs import page_path, read_page, run_pages, write_page

DAY = Period(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 3, 2, tzinfo=UTC))
RUN = "scheduled__2026-03-02T00:00:00+00:00"


def written(docs: Path, period: Period = DAY, **changes: object) -> Path:
    failed = CheckResult(
        expectation="expect_column_values_to_be_in_set", column="<b>carrier</b>", passed=False, failing_count=1200,
        sentence="column 'carrier': expected <one> & no other; found 1,200", observed="<script>alert(1)</script>",
        offending_keys=("k<1>",),
    )  # fmt: skip
    passed = CheckResult(
        expectation="expect_column_to_exist", column="weight", passed=True, sentence="column 'weight': that it exists.",
        failing_count=0,
    )  # fmt: skip
    report = ValidationReport(
        model="parcels", run_id=RUN, purpose="score", period=period, rows=1200, checks=(failed, passed)
    ).model_copy(update=changes)
    path = page_path(docs, report)
    write_page(path, report, {1})
    return path


def test_a_page_shows_every_check_and_nothing_of_the_data_is_taken_for_html(tmp_path: Path) -> None:
    page = written(tmp_path).read_text()
    assert "1 of 2 checks of the contract" in page
    assert "column &#39;carrier&#39;: expected &lt;one&gt; &amp; no other; found 1,200" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("SQL and Great Expectations</td>") == 1


def test_the_pages_of_a_run_are_found_by_its_id(tmp_path: Path) -> None:
    later = Period(start=DAY.start + timedelta(days=1), end=DAY.end + timedelta(days=1))
    pages = [written(tmp_path, period).name for period in (later, DAY)]
    assert run_pages(tmp_path, "parcels", RUN) == sorted(pages)
    assert (
        read_page(tmp_path, "parcels", RUN, pages[0]) == (tmp_path / "parcels").rglob(pages[0]).__next__().read_text()
    )


@pytest.mark.parametrize("model", ["..", "parcels/..", "", "/etc", "Parcels", "parcels\n"])
def test_a_name_that_no_model_can_have_has_no_pages(tmp_path: Path, model: str) -> None:
    written(tmp_path)
    assert run_pages(tmp_path, model, RUN) == []


@pytest.mark.parametrize("run", ["..", ".", "../parcels", "", "other"])
def test_no_run_id_leads_out_of_the_model_s_folder(tmp_path: Path, run: str) -> None:
    written(tmp_path / "docs")
    for place in (tmp_path, tmp_path / "docs", tmp_path / "docs" / "parcels"):
        (place / "secret.html").write_text("secret")
    assert run_pages(tmp_path / "docs", "parcels", run) == []
    assert read_page(tmp_path / "docs", "parcels", run, "secret.html") is None


def test_no_page_name_leads_out_of_the_run_s_folder(tmp_path: Path) -> None:
    path = written(tmp_path)
    (path.parent.parent / "secret.html").write_text("secret")
    assert read_page(tmp_path, "parcels", RUN, "../secret.html") is None
