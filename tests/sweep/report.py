"""The outcomes as a line each, a summary, and the page docs/reference/estimators.md."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.sweep.boosters import LIBRARIES
from tests.sweep.trial import FAILURES

Record = dict[str, Any]
REASON = 220


def print_progress(record: Record, ended: int, total: int, seconds: float) -> None:
    """Print one line: what is wrong in full, all else in a few words."""
    left = seconds / ended * (total - ended)
    detail = record["message"][:160].replace("\n", " ") if record["result"] in FAILURES else record["step"]
    print(
        f"{ended:5d}/{total} {left / 60:4.0f} min left {record['seconds']:6.1f} s  {record['result']:20s} "
        f"{record['name']}  {detail}",
        flush=True,
    )


def counted(record: Record) -> bool:
    """Return whether scikit-learn itself fits the configuration and answers every row that is let in."""
    return bool(record["scikit_learn"] == "answers")


def failures(found: Iterable[Record]) -> list[Record]:
    """Return the outcomes that must not be."""
    return [each for each in found if each["result"] in FAILURES and not _too_slow(each)]


def _too_slow(record: Record) -> bool:
    return record["result"] == "timeout" and not counted(record)


def share_exact(found: Iterable[Record]) -> tuple[int, int]:
    """Return how many of the counted configurations are served exactly, and how many are counted."""
    results = [each["result"] for each in found if counted(each)]
    return results.count("exact"), len(results)


def summary(found: list[Record]) -> str:
    """Return the counts, a table by estimator, and what must not be."""
    lines = ["", "scikit-learn answers / cannot:"]
    for name, chosen in (("answers", True), ("cannot", False)):
        results = Counter(each["result"] for each in found if counted(each) is chosen)
        lines.append(f"  {name:8s} " + ", ".join(f"{result} {count:,}" for result, count in results.most_common()))
    exact, total = share_exact(found)
    lines.append(f"  served exactly: {exact:,} of {total:,} ({exact / max(1, total):.1%})")
    lines.append("")
    lines += _by_group(found)
    kinds = Counter(
        kind for each in found if each["result"] == "wrong" for kind in re.findall(r"(?:^|; )(\w+):", each["message"])
    )
    lines += ["", "wrong by kind of rows: " + (", ".join(f"{k} {n:,}" for k, n in kinds.most_common()) or "none")]
    bad = failures(found)
    lines += ["", f"must not be: {len(bad):,}"]
    by_message: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for each in bad:
        by_message[each["result"], _general(each["message"])].append(each["name"])
    for (result, message), names in sorted(by_message.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"  {len(names):4d} {result}: {message}\n         {', '.join(names[:3])}{more}")
    return "\n".join(lines)


def _general(message: str) -> str:
    """Return a message without its figures, so that equal faults come together."""
    return re.sub(r"[\d.,]+(e[-+]?\d+)?", "#", message)[:200].replace("\n", " ")


def _by_group(found: list[Record]) -> list[str]:
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in found:
        group, composition = each["name"].split("/")[:2]
        groups[composition if group == "compositions" else group][_word(each)] += 1
    width = max((len(group) for group in groups), default=0)
    return [
        f"  {group:{width}s}  " + ", ".join(f"{word} {count}" for word, count in sorted(words.items()))
        for group, words in sorted(groups.items())
    ]


def _word(record: Record) -> str:
    return f"{record['result']}" + ("" if counted(record) else " (scikit-learn cannot)")


# The page

_HEAD = """# Estimators: what is served, and what is refused

`make sweep` writes this page. It fits every classifier and every regressor of scikit-learn, and the compositions that
people write, on real data, and converts each as a retrain does. It compares the answers with scikit-learn's own
`predict_proba` and `predict` on {rows:,} fresh rows of each kind: ordinary rows, nulls, unknown categories, the ends of
each range, the thresholds of trees, the places where the label changes, and batches of every size.
[Testing](../testing.md#the-sweep) has the details.
"""
_LEGEND = """
## How to read the tables

- `works`: every answer is that of scikit-learn, within the tolerance of 1e-5, with the same label.
- `refused`: a retrain stops with an error that names the step or the feature, and a way out.
- `no probabilities`: it has no `predict_proba`. A classification is served as probabilities, so a retrain refuses it.
- `-`: scikit-learn itself does not fit it to such data, or does not answer every row that the declaration lets in.
- `not run`: none of its configurations was run.
- `works; nulls later: refused` means: refused only where nulls are declared and the training rows have none. The other
  cases are `nulls` (declared, and in the training rows), `no nulls`, and `beyond` (`out_of_range="ignore"`: numbers
  beyond the declared range are accepted).
- Two words with a comma: the result depends on the data set.
"""
WORDS = {
    "exact": "works",
    "rows_refused": "works, refuses some rows",
    "refused": "refused",
    "wrong": "**differs**",
    "traceback": "**fails**",
    "refused_without_step": "**refused without a step**",
    "timeout": "**too slow**",
}
NULLS = {"none": "no nulls", "training": "nulls", "later": "nulls later", "open": "beyond"}
COMPOSITIONS = {"bare": "alone", "scaled": "behind a scaler", "encoded": "behind imputer and one-hot"}
TASKS = {
    "cancer": "binary",
    "flights": "binary",
    "wine": "multiclass",
    "arrivals": "multiclass",
    "diabetes": "regression",
    "minutes": "regression",
}


def write_page(path: Path, found: list[Record], every: list[str]) -> None:
    """Write the page; equal results and versions give the same bytes, except the date."""
    path.write_text(page(found, every, datetime.now(UTC).date().isoformat()), encoding="utf-8")


def page(found: list[Record], every: list[str], date: str) -> str:
    """Return the page; `every` are the names of all configurations, in the order of the tables."""
    place = {name: position for position, name in enumerate(every)}
    found = sorted(found, key=lambda each: place[each["name"]])
    lines = [_HEAD.format(rows=found[0]["rows"]), *_counts(found, len(every), date), _LEGEND]
    for title, tasks in (("Classifiers", ("binary", "multiclass")), ("Regressors", ("regression",))):
        names = [name for name in every if name.split("/")[1] in COMPOSITIONS and TASKS[name.split("/")[2]] in tasks]
        lines += [f"## {title}\n", *_estimator_table(found, names), ""]
    for group in ("compositions", *LIBRARIES):
        names = [name for name in every if name.startswith(f"{group}/")]
        if names:
            title = "Compositions" if group == "compositions" else f"{group} {version(group)}"
            lines += [f"## {title}\n", *_composition_table(found, names), ""]
    lines += ["## Why they are refused\n", *_reasons(found), ""]
    return "\n".join(lines).rstrip() + "\n"


def _counts(found: list[Record], every: int, date: str) -> list[str]:
    exact, total = share_exact(found)
    results = Counter(each["result"] for each in found)
    refused = sum(counted(each) and each["result"] == "refused" for each in found)
    slow = sum(each["result"] == "timeout" and counted(each) for each in found)
    libraries = [f"{name} {version(name)}" for name in ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy")]
    some = (
        "" if len(found) == every else f" Only {len(found):,} of {every:,} configurations were run, chosen at random."
    )
    return [
        f"Written on {date} with {', '.join(libraries)}.{some}\n",
        "| | Configurations |",
        "|---|---|",
        f"| run | {len(found):,} |",
        f"| scikit-learn itself fits them and answers every row that is let in | {total:,} |",
        f"| of these, served exactly | {exact:,} ({exact / max(1, total):.1%}) |",
        f"| of these, refused with the step named | {refused:,} |",
        f"| answered differently from scikit-learn | {results['wrong']:,} |",
        f"| tracebacks | {results['traceback']:,} |",
        f"| refused without a step | {results['refused_without_step']:,} |",
        f"| no end in time | {slow:,} |",
    ]


def _estimator_table(found: list[Record], names: list[str]) -> list[str]:
    chosen = _by(found, names, lambda name: tuple(name.split("/")[:2]))
    lines = [
        "| Estimator | Takes nulls | Alone | Behind a scaler | Behind imputer and one-hot | Refused because |",
        "|---" * 6 + "|",
    ]
    for group in dict.fromkeys(name.split("/")[0] for name in names):
        parts = [chosen.get((group, composition), []) for composition in COMPOSITIONS]
        nulls = [each for each in parts[0] if each["name"].endswith("/training")]
        takes = ("yes" if any(map(counted, nulls)) else "no") if nulls else ""
        cells = [f"`{group}`", takes, *(_cell(part) for part in parts), _why([each for part in parts for each in part])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _composition_table(found: list[Record], names: list[str]) -> list[str]:
    chosen = _by(found, names, lambda name: (name.split("/")[1], TASKS[name.split("/")[2]]))
    tasks = tuple(dict.fromkeys(TASKS.values()))
    lines = [f"| Composition | {' | '.join(tasks)} | Refused because |", "|---" * (2 + len(tasks)) + "|"]
    offered = {(name.split("/")[1], TASKS[name.split("/")[2]]) for name in names}
    for composition in dict.fromkeys(name.split("/")[1] for name in names):
        parts = [chosen.get((composition, task), []) for task in tasks]
        cells = [_cell(part) if (composition, task) in offered else "" for task, part in zip(tasks, parts, strict=True)]
        why = _why([each for part in parts for each in part])
        lines.append(f"| {' | '.join([f'`{composition}`', *cells, why])} |")
    return lines


def _by(
    found: list[Record], names: list[str], key: Callable[[str], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Record]]:
    wanted = set(names)
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for each in found:
        if each["name"] in wanted:
            groups[key(each["name"])].append(each)
    return groups


def _cell(records: list[Record]) -> str:
    """Return what became of some configurations: one word, or the usual word and the cases in which it is another."""
    if not records:
        return "not run"
    words = {nulls: _refusal_text(each for each in records if each["name"].endswith(f"/{nulls}")) for nulls in NULLS}
    words = {nulls: word for nulls, word in words.items() if word}
    if not words:
        lacking = any(each["scikit_learn"] == "has no predict_proba" for each in records)
        return "no probabilities" if lacking else "-"
    usual = Counter(words.values()).most_common(1)[0][0]
    other = [f"{NULLS[nulls]}: {word}" for nulls, word in words.items() if word != usual]
    return "; ".join([usual, *other])


def _refusal_text(records: Iterable[Record]) -> str:
    return ", ".join(dict.fromkeys(WORDS[each["result"]] for each in records if counted(each)))


def _why(records: list[Record]) -> str:
    """Return the most frequent reason of a refusal of what scikit-learn fits and answers."""
    reasons = Counter(_sentence(each) for each in records if counted(each) and each["result"] == "refused")
    return reasons.most_common(1)[0][0] if reasons else ""


def _reasons(found: list[Record]) -> list[str]:
    """Return a table of the sentences with which configurations are refused, the most frequent first."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for each in found:
        if counted(each) and each["result"] == "refused":
            reasons[_sentence(each)].append("/".join(each["name"].split("/")[:2]))
    lines = ["| Refused because | Configurations | Such as |", "|---|---|---|"]
    for sentence, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        examples = ", ".join(f"`{name}`" for name in list(dict.fromkeys(names))[:2])
        lines.append(f"| {sentence} | {len(names)} | {examples} |")
    return lines


def _sentence(record: Record) -> str:
    """Return the reason of a refusal without model, step and figures, so that equal reasons come together."""
    text = record["message"].replace("\n", " ")
    text = re.sub(r"^\w+: (?:model '\w+': )?(?:step .*? cannot be served: )?", "", text)
    text = re.sub(r"(ONNX answers differently from scikit-learn).*", r"\1", text)
    text = re.sub(r"(?<![\w.])\d[\d.,]*(?:e-?\d+)?", "N", text).replace("|", "\\|")
    return text if len(text) <= REASON else text[:REASON].rsplit(" ", 1)[0] + " …"
