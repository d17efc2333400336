"""docs/reference/ tells of everything there is, and of nothing else: what differs from the code fails here."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from include import spec
from include.cli.command_line import build_parser
from include.models import read_spec
from include.scoring.tables import ensure_score_table
from include.settings import REPOSITORY, Settings
from model_service import ModelRegistry, create_app
from model_service.http import responses
from model_service.http.errors import problem_kinds

REFERENCE = REPOSITORY / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def sections(markdown: str, level: str = "##") -> dict[str, str]:
    """Return what stands under each heading of `level`, up to the next heading of that level or a higher one."""
    found: dict[str, str] = {}
    name = None
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"(#+) (.*)", line)
        if heading and len(heading[1]) <= len(level):
            name = heading[2].replace("&lt;", "<").replace("&gt;", ">") if heading[1] == level else None
            if name:
                found[name] = ""
        elif name:
            found[name] += line + "\n"
    return found


def table(markdown: str) -> list[list[str]]:
    """Return the cells of the rows of the first table."""
    rows: list[list[str]] = []
    for line in markdown.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            break
    return rows[2:]


def code(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)


# -- settings.md -----------------------------------------------------------------------------------


def settings_table() -> str:
    """Return the table of settings.md, made from `Settings`."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Path):
            default = f"`{default.relative_to(REPOSITORY)}` in the checkout"
        elif default is None or default == {}:
            default = "unset"
        else:
            default = f"`{default}`"
        lines.append(f"| `SLUICE_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def test_every_setting_is_in_the_reference_with_its_default_and_meaning() -> None:
    wanted = settings_table()
    assert wanted in page("settings.md"), f"docs/reference/settings.md should hold this table:\n{wanted}"


# -- cli.md ----------------------------------------------------------------------------------------


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = [each.choices for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(choices)


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    described = [name.removeprefix("sluice ") for name in sections(page("cli.md")) if name.startswith("sluice ")]
    assert sorted(described) == sorted(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_of_a_command_is_in_its_section(name: str) -> None:
    section = sections(page("cli.md"))[f"sluice {name}"]
    options = {word for action in commands()[name]._actions for word in action.option_strings} - {"-h", "--help"}
    rows = [row[0].strip("`") for row in table(section)]
    assert {re.split(r"[ `]", row)[0] for row in rows if row.startswith("-")} == options
    usage = section.split("```")[1]
    assert set(re.findall(r"(?<=[\[ ])--?[a-z][a-z-]*", usage)) == options
    arguments = [action for action in commands()[name]._actions if not action.option_strings]
    lists_without = [isinstance(each, argparse._SubParsersAction) and not each.required for each in arguments]
    optional = [each.nargs == "?" or lists for each, lists in zip(arguments, lists_without, strict=True)]
    names = [each.dest.upper() for each in arguments]
    wanted = [f"[{name}]" if may_miss else name for name, may_miss in zip(names, optional, strict=True)]
    assert usage.split()[2 : 2 + len(wanted)] == wanted


def test_every_action_of_alerts_is_described_with_its_arguments_and_options() -> None:
    (actions,) = [each for each in commands()["alerts"]._actions if isinstance(each, argparse._SubParsersAction)]
    described = {row[0].strip("`").split()[0]: row[0] for row in table(sections(page("cli.md"), "###")["Actions"])}
    assert described.keys() == actions.choices.keys()
    for name, parser in actions.choices.items():
        for each in parser._actions:
            if each.dest != "help":
                assert (each.option_strings[-1] if each.option_strings else each.dest.upper()) in described[name]


# -- service.md ------------------------------------------------------------------------------------


def routes() -> Iterator[str]:
    app = create_app(Settings(), ModelRegistry())
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield f"{method} {re.sub('<[a-z]+:', '<', rule.rule)}"


def test_every_route_has_a_section_and_every_section_a_route() -> None:
    described = [name for name in sections(page("service.md")) if re.match(r"[A-Z]+ /", name)]
    assert sorted(described) == sorted(routes())


@pytest.mark.parametrize("route", sorted(routes()))
def test_every_route_has_an_example_request_of_itself_with_an_answer(route: str) -> None:
    section = sections(page("service.md"))[route]
    pattern = re.sub(r"<\w+>", r"[^ '?]+", route.split()[1])
    asked = code(section, "console")
    assert asked
    for each in asked:
        assert re.search(rf"127\.0\.0\.1:8090{pattern}(\?[^ ]*)?( |$)", each, re.MULTILINE), each
        assert (" -d " in each) == route.startswith("POST")
    assert len([json.loads(each) for each in code(section, "json")] + code(section, "text")) == len(asked)


def test_the_answers_shown_have_the_members_of_real_answers() -> None:
    one, many = responses.SinglePrediction.__struct_fields__, responses.BatchPrediction.__struct_fields__
    shown = [
        json.loads(each)
        for name in sections(page("service.md"))
        for each in code(sections(page("service.md"))[name], "json")
    ]
    predictions = [each for each in shown if "timestamp" in each]
    assert {tuple(each) for each in predictions} == {one, many}
    assert all(
        tuple(each["prediction"]) == responses.ClassPrediction.__struct_fields__
        for each in shown
        if "prediction" in each
    )


def test_every_kind_of_problem_is_in_the_reference() -> None:
    wanted = {(str(status), f"`urn:sluice:problem:{name}`") for status, name, _ in problem_kinds()}
    assert {(row[0], row[1]) for row in table(sections(page("service.md"))["Errors"])} == wanted


# -- database.md -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(new_database) -> Iterator[Engine]:
    """A database with the schema, and the score table of the sample."""
    from include.warehouse import open_engine

    engine = open_engine(new_database())
    ensure_score_table(engine, read_spec(REPOSITORY / "include" / "models" / "flight_delay" / "spec.py"))
    yield engine
    engine.dispose()


def columns_of(engine: Engine, schema: str) -> dict[str, dict[str, str]]:
    query = """
        SELECT relname, attname, format_type(atttypid, NULL)
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute ON attrelid = c.oid
        WHERE nspname = :schema AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped ORDER BY attnum
    """
    found: dict[str, dict[str, str]] = {}
    with engine.connect() as connection:
        for relation, column, kind in connection.execute(text(query), {"schema": schema}):
            found.setdefault(relation, {})[column] = kind
    return found


def test_every_table_and_view_of_the_schemas_of_sluice_is_described_column_by_column(loaded: Engine) -> None:
    described = {
        name: {row[0].strip("`"): row[1] for row in table(section)}
        for name, section in sections(page("database.md"), "###").items()
    }
    made = {
        f"{schema}.{name}": columns
        for schema in ("sluice", "sluice_jobs")
        for name, columns in columns_of(loaded, schema).items()
    }
    assert described == made


def test_the_score_table_shown_is_the_score_table_made(loaded: Engine) -> None:
    made = columns_of(loaded, "scores")
    told = {row[0].strip("`"): row[1] for row in table(sections(page("database.md"))["Schema scores"])}
    assert told == made["flight_delay"] == made["flight_delay_latest"]


def test_the_queries_for_analysts_run(loaded: Engine) -> None:
    with loaded.begin() as connection:
        connection.execute(
            text("CREATE TABLE IF NOT EXISTS source.flights (flight_key text, arr_delay double precision)")
        )
    statements = [each for block in code(page("database.md"), "sql") for each in block.split(";") if each.strip()]
    assert len(statements) >= 9
    for each in statements:
        with loaded.connect() as connection:
            connection.exec_driver_sql(each)


# -- spec.md ---------------------------------------------------------------------------------------


def parts() -> dict[str, type[spec.SpecModel]]:
    """Return the classes that a declaration is made of; base classes such as `Gate` are not."""
    exported = {name: getattr(spec, name) for name in spec.__all__}
    return {
        name: each
        for name, each in exported.items()
        if isinstance(each, type) and issubclass(each, spec.SpecModel) and each not in (spec.SpecModel, spec.Gate)
    }


def test_every_class_of_a_declaration_has_a_section_and_every_section_a_class() -> None:
    assert sorted(sections(page("spec.md"))) == sorted([*parts(), "Columns", "features.sql", "Metrics"])


@pytest.mark.parametrize("name", sorted(parts()))
def test_every_field_of_a_class_is_described_with_its_default(name: str) -> None:
    fields = {k: v for k, v in parts()[name].model_fields.items() if k not in ("kind", "folder")}
    told = {row[0].strip("`"): row[1].strip("`") for row in table(sections(page("spec.md"))[name])}
    assert list(told) == list(fields)
    for field, described in told.items():
        if fields[field].is_required():
            assert described == "required", f"{name}.{field}"
        else:
            default = eval(described, {"timedelta": timedelta, **parts()})  # noqa: S307  # the page is our own
            assert default == fields[field].default, f"{name}.{field}"


def test_every_metric_is_described() -> None:
    told = {row[0].strip("`"): row[1] for row in table(sections(page("spec.md"))["Metrics"])}
    assert list(told) == list(spec.METRICS)
    assert told == {name: metric.direction for name, metric in spec.METRICS.items()}
