"""Each planted mistake is named with file, line and field or feature, in our words, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from include.checking import ModelCheck
from include.errors import Finding, SpecError
from include.linting import lint
from include.models import read_spec
from tests.checking.mistakes import MISTAKES, WRITTEN, Expected, line_of, plant

Check = Callable[..., ModelCheck]

# What pydantic and SQLAlchemy say.
FOREIGN = re.compile(
    r"Input should|Field required|Extra inputs|Value error|validation error|should match pattern|errors\.pydantic|"
    r"sqlalche|psycopg|\[SQL:|\(Background on"
)


def is_of(finding: Finding, folder: Path, expected: Expected) -> bool:
    return (
        finding.file == folder / expected.file
        and finding.line == line_of(folder, expected)
        and expected.subject in (finding.field, finding.feature)
        and finding.severity == expected.severity
        and expected.says in f"{finding.sentence} {finding.hint}"
    )


def test_there_are_sixty_of_them() -> None:
    assert len(MISTAKES) >= 60


def test_a_sound_declaration_has_no_finding_and_a_cost(check: Check, tmp_path: Path) -> None:
    plant(tmp_path / "parcels")
    found = check(tmp_path / "parcels")
    assert (found.findings, found.skipped) == ((), ())
    assert found.cost is not None
    assert found.cost.rows == 2000


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_line_and_field_and_nothing_else_is(check: Check, tmp_path: Path, name: str) -> None:
    folder, expected = tmp_path / "parcels", MISTAKES[name].finding
    plant(folder, MISTAKES[name])
    found = check(folder)
    shown = "\n".join(str(each) for each in found.findings)
    assert any(is_of(each, folder, expected) for each in found.findings), f"{line_of(folder, expected)}: {shown}"
    assert len(found.findings) == 1, shown
    assert not FOREIGN.search(shown), shown
    assert found.has_errors == (expected.severity == "error")


def test_many_mistakes_of_one_file_are_named_together(check: Check, tmp_path: Path) -> None:
    names = [
        "owner is a number", "source without schema", "a misspelt field", "empty range", "a misspelt choice",
        "a name in capital letters", "an empty label", "a window without unit", "a negative number of rows",
        "an unknown metric", "a negative margin", "a gate as a class",
        "a schedule of four fields", "a schedule that never occurs", "a misspelt function",
        "a misspelt name in the function", "a missing name of a module", "an unknown column", "a misspelt parameter",
    ]  # fmt: skip
    folder = tmp_path / "parcels"
    plant(folder, *(MISTAKES[name] for name in names))
    found = check(folder).findings
    missing = [name for name in names if not any(is_of(each, folder, MISTAKES[name].finding) for each in found)]
    assert missing == ["an unknown column"], "\n".join(str(each) for each in found)  # the query's text is wrong, too
    assert len(found) == len(names) - 1


def test_faults_of_spec_py_do_not_hide_those_of_the_query(check: Check, tmp_path: Path) -> None:
    folder = tmp_path / "parcels"
    names = ["owner is a number", "an unknown column"]
    plant(folder, *(MISTAKES[name] for name in names))
    (folder / "features.sql").write_text((folder / "features.sql").read_text().replace("distance", "distence"))
    found = check(folder).findings
    assert [each.feature or each.field for each in found] == ["owner", "wieght", "distence"]


def test_all_columns_and_rows_that_are_wrong_are_named_together(check: Check, tmp_path: Path) -> None:
    folder = tmp_path / "parcels"
    names = [
        "a range that the rows break", "nulls", "a category that is not declared", "an undeclared label",
        "too few rows",
    ]  # fmt: skip
    plant(folder, *(MISTAKES[name] for name in names))
    found = check(folder).findings
    assert all(any(is_of(each, folder, MISTAKES[name].finding) for each in found) for name in names)
    assert len(found) == len(names)


# A DAG file calls none of the functions, so what is wrong within one stops a training alone.
SHOWN_BY_AIRFLOW = [name for name in WRITTEN if name not in ("a misspelt name in the function", "a slow import")]


@pytest.mark.parametrize("name", SHOWN_BY_AIRFLOW)
def test_airflow_shows_what_the_check_finds_without_a_database(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "parcels"
    plant(folder, WRITTEN[name])
    with pytest.raises(SpecError) as caught:
        read_spec(folder / "spec.py")
    assert caught.value.findings == lint(folder / "spec.py").errors
    assert all(str(each) in str(caught.value) for each in caught.value.findings)
