"""The changed fields of a declaration: each with the champion's value and the present one."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from include.changes.estimator_code import estimator_code
from include.inference import ModelSignature
from include.spec import FeatureQuery, ModelSpec
from include.spec.features import number_text

FEATURES: Final = "features"
ESTIMATOR: Final = "estimator"
QUERY: Final = "features.sql"

_NESTED: Final = ("entity_key", "target", "window", "contract", "evaluation", "score_start", "scoring", "freshness")
"""Parts whose fields are compared one by one. Of other parts, a change of one field is a change of the part."""
_DURATION = re.compile(r"-?P(?=[\dT])[\dDTHMS.]+")
_DURATIONS = TypeAdapter(timedelta)
_MAX_DIFF_LINES: Final = 40


@dataclass(frozen=True, slots=True)
class FormerDeclaration:
    """The declaration of a version, as its artifact holds it.

    Attributes
    ----------
    values : mapping
        The declared values, see `ModelSpec.to_plain`; of an old version only some.
    code : str or None
        The text of its ``spec.py``; None in an old version.
    """

    values: Mapping[str, Any]
    code: str | None
    query: FeatureQuery
    signature: ModelSignature

    @property
    def complete(self) -> bool:
        """Whether every field can be compared."""
        return self.code is not None


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field whose value changed, with both values as JSON-ready types and as people write them."""

    field: str
    before: Any
    after: Any
    before_text: str | None
    after_text: str | None

    @classmethod
    def of(cls, field: str, before: Any, after: Any) -> FieldDifference:
        """Return the difference of two plain values."""
        return cls(field, before, after, value_text(before), value_text(after))


def former_declaration(
    values: Mapping[str, Any] | None, known: Mapping[str, Any], code: str | None, query: FeatureQuery,
    signature: ModelSignature,
) -> FormerDeclaration:  # fmt: skip
    """Return the declaration of a version.

    Parameters
    ----------
    values : mapping, optional
        All declared values; None if the version was registered before they were kept.
    known : mapping
        Those that every version keeps, by the same names.
    """
    if values is not None:
        return FormerDeclaration(values, code, query, signature)
    signed = {"entity_key": signature.entity_key.model_dump(mode="json"), "event_time": signature.event_time}
    return FormerDeclaration({**known, **signed}, None, query, signature)


def compare(former: FormerDeclaration, spec: ModelSpec) -> tuple[FieldDifference, ...]:
    """Return the fields of `spec` that are not as they were, in the order of the declaration."""
    found = list(_differences(former.values, spec.to_plain()))
    if former.code is not None:
        before, after = estimator_code(former.code), estimator_code(spec.code)
        if before != after:
            found.append(FieldDifference(ESTIMATOR, before, after, *_changed_lines(before, after)))
    present = spec.query
    if former.query.text != present.text:
        lines = _changed_lines(former.query.text, present.text)
        found.append(FieldDifference(QUERY, former.query.text, present.text, *lines))
    return tuple(found)


def value_text(value: Any) -> str | None:
    """Return a plain value as people write it; None stays None, for what is not there."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, str):
        if _DURATION.fullmatch(value):
            return _duration_text(_DURATIONS.validate_python(value))
        return repr(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(value_text(each)) for each in value) or "none"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={value_text(each)}" for name, each in value.items() if each is not None)
    return json.dumps(value)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FieldDifference]:
    for name, value in after.items():
        former: Any = before.get(name)
        if name not in before or former == value:
            continue
        if name == FEATURES:
            yield from _feature_differences(former, value)
        elif name in _NESTED:
            yield from (
                FieldDifference.of(f"{name}.{part}", former.get(part), each)
                for part, each in value.items()
                if former.get(part) != each
            )
        else:
            yield FieldDifference.of(name, former, value)


def _feature_differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[FieldDifference]:
    former, present = ({each["name"]: each for each in features} for features in (before, after))
    for name, feature in former.items():
        if name not in present:
            yield FieldDifference.of(f"{FEATURES}.{name}", feature, None)
    for name, feature in present.items():
        if name not in former:
            yield FieldDifference.of(f"{FEATURES}.{name}", None, feature)
        elif former[name]["kind"] != feature["kind"]:
            yield FieldDifference.of(f"{FEATURES}.{name}.kind", former[name]["kind"], feature["kind"])
        else:
            yield from (
                FieldDifference.of(f"{FEATURES}.{name}.{part}", former[name].get(part), value)
                for part, value in feature.items()
                if former[name].get(part) != value
            )
    kept = [name for name in former if name in present]
    if kept != (now := [name for name in present if name in former]):
        yield FieldDifference.of(FEATURES, kept, now)


def _changed_lines(before: str, after: str) -> tuple[str | None, str | None]:
    """Return the lines that only one of two texts has, the first ones if they are many; None: there are none."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    removed, added = ([line[2:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return _some_lines(removed), _some_lines(added)


def _some_lines(lines: list[str]) -> str | None:
    shown = [line for line in lines if line][:_MAX_DIFF_LINES]
    more = len([line for line in lines if line]) - len(shown)
    return "\n".join([*shown, *([f"... and {more} more lines"] if more else [])]) or None


def _duration_text(duration: timedelta) -> str:
    days, rest = duration.days, duration - timedelta(days=duration.days)
    parts = [f"{days} day{'' if days == 1 else 's'}"] if days else []
    return " ".join([*parts, *([str(rest)] if rest or not days else [])])
