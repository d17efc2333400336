"""The reading that goes on after a fault agrees with the one that stops at it, and knows where each part is written."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import SpecError
from include.linting import lint
from include.models import MODELS_DIR, read_spec
from tests.builders import QUERY, SPEC

TEXT = SPEC.replace("{name}", "parcels")
TOKENS = [each for each in tokenize.generate_tokens(io.StringIO(TEXT).readline) if each.string.strip()]


def write(folder: Path, spec: str, query: str = QUERY) -> Path:
    folder = folder / "parcels"
    folder.mkdir(exist_ok=True)
    (folder / "features.sql").write_text(query.replace("{name}", "parcels"))
    (folder / "spec.py").write_text(spec)
    return folder / "spec.py"


def lines_of(file: Path) -> list[tuple[int | None, str | None]]:
    return [(each.line, each.feature or each.field) for each in lint(file).findings]


@pytest.mark.parametrize("model", ["iris", "flight_delay"])
def test_the_samples_have_no_finding(model: str) -> None:
    assert lint(MODELS_DIR / model / "spec.py").findings == ()


@given(
    at=st.integers(0, len(TOKENS) - 1),
    by=st.sampled_from(["", "None", "-1", "'text'", "(", "timedelta", "spec", "1e400"]),
)
@settings(max_examples=150)
def test_any_changed_word_is_found_exactly_if_the_declaration_cannot_be_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, by: str
) -> None:
    token, lines = TOKENS[at], TEXT.splitlines(keepends=True)
    line = lines[token.start[0] - 1]
    end = token.end[1] if token.end[0] == token.start[0] else len(line)
    lines[token.start[0] - 1] = f"{line[: token.start[1]]}{by}{line[end:]}"
    file = write(tmp_path_factory.mktemp("m"), "".join(lines))
    error = _error_of(file)
    if error is None:
        # What only a call of the function would meet is found by the lint alone.
        assert all(_within_function(each.line, file) for each in lint(file).errors)
    else:
        assert error.findings == lint(file).errors
        assert all(each.line for each in error.findings), [str(each) for each in error.findings]


def _error_of(file: Path) -> SpecError | None:
    try:
        read_spec(file)
    except SpecError as error:
        return error
    return None


def _within_function(line: int | None, file: Path) -> bool:
    lines = file.read_text().splitlines()
    return line is not None and "def build" in "\n".join(lines[:line]) and "spec = " not in "\n".join(lines[:line])


def test_parts_that_helpers_and_loops_make_have_their_lines(tmp_path: Path) -> None:
    spec = TEXT.replace(
        "spec = ModelSpec(",
        "LIMITS = {'height': 0, 'width': 9}\n"
        "def metres(name, high):\n"
        "    return Numeric(name=name, unit='m', minimum=1, maximum=high)\n"
        "more = tuple(metres(name, high) for name, high in LIMITS.items())\n\n"
        "spec = ModelSpec(",
    ).replace('        Boolean(name="fragile"),\n', '        Boolean(name="fragile"),\n        *more,\n')
    file = write(tmp_path, spec)
    line = next(number for number, each in enumerate(spec.splitlines(), 1) if "maximum=high" in each)
    assert lines_of(file) == [(line, "height")]


def test_code_that_expects_its_own_errors_has_no_finding(tmp_path: Path) -> None:
    careful = (
        "try:\n    import no_such_package\nexcept ImportError:\n    no_such_package = None\n"
        "try:\n    LIMIT = int('many')\nexcept ValueError:\n    LIMIT = 100\n\n"
    )
    spec = TEXT.replace("spec = ModelSpec(", careful + "spec = ModelSpec(").replace("maximum=100)", "maximum=LIMIT)")
    assert lines_of(write(tmp_path, spec)) == []


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("raise OSError('no disk')", "OSError: no disk"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("timedelta.dais", "Did you mean 'days'?"),
        ("print(later)\nlater = 1", "name 'later' is not defined"),
    ],
)
def test_a_statement_that_fails_is_named_and_the_rest_is_read(tmp_path: Path, statement: str, says: str) -> None:
    spec = TEXT.replace("spec = ModelSpec(", statement + "\n\nspec = ModelSpec(").replace('owner="tests"', "owner=3")
    first, second = lint(write(tmp_path, spec)).findings
    assert says in str(first)
    assert second.field == "owner"


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    file.write_bytes(b"spec = '\xff'")
    (finding,) = lint(file).findings
    assert "expected a file in UTF-8" in str(finding)
    file.write_bytes(b"spec = '\0'")
    assert lint(file).errors
    file.write_text("")
    (finding,) = lint(file).findings
    assert "exactly one ModelSpec in the file; found 0" in str(finding)


def test_both_files_are_read_when_both_are_wrong(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT.replace("days=40", "days=-40"), QUERY.replace(":period_start", ":period_strat"))
    with pytest.raises(SpecError) as caught:
        read_spec(file)
    assert [each.file.name for each in caught.value.findings] == ["spec.py", "features.sql"]
