"""The outcomes as a line each, a summary, and the page docs/reference/estimators.md."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.sweep.boosters import LIBRARIES
from tests.sweep.trial import FAILURES

Record = dict[str, Any]


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
people write, on real data, converts each as a retrain does, and compares the answers with scikit-learn's own
`predict_proba` and `predict` on {rows:,} fresh rows of each kind: ordinary rows, nulls, unknown categories, the ends of
each range, the thresholds of trees, the places where the label changes, batches of every size.

"""

_LEGEND = """
## How to read the tables

- `works`: every answer is that of scikit-learn, within the tolerance of 1e-5, with the same label.
- `refused`: a retrain stops with an error that names the step and the nearest thing that works.
- `-`: scikit-learn itself does not fit the estimator to such data, or does not answer every row that is let in.
- Columns: `no nulls`; `nulls`: declared, and some in the training rows; `nulls later`: declared, and none in the
  training rows; `beyond`: numbers beyond the declared range are let in (`out_of_range="ignore"`).
- A cell with two words covers several data sets or tasks with different results.
"""


def write_page(path: Path, found: list[Record]) -> None:
    """Write the page; equal results and versions give the same bytes, except the date."""
    path.write_text(page(found, datetime.now(UTC).date().isoformat()), encoding="utf-8")


def page(found: list[Record], date: str) -> str:
    """Return the page."""
    exact, total = share_exact(found)
    results = Counter(each["result"] for each in found)
    rows = found[0]["rows"] if found else 0
    libraries = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy")
    lines = [
        _HEAD.format(rows=rows),
        f"Written on {date} with " + ", ".join(f"{name} {version(name)}" for name in libraries) + ".\n",
        "| | Configurations |",
        "|---|---|",
        f"| all | {len(found):,} |",
        f"| scikit-learn itself fits them and answers every row that is let in | {total:,} |",
        f"| of these, served exactly | {exact:,} ({exact / max(1, total):.1%}) |",
        f"| of these, refused with the step named | {_refused(found):,} |",
        f"| answered differently from scikit-learn | {results['wrong']:,} |",
        f"| tracebacks | {results['traceback']:,} |",
        f"| refused without a step | {results['refused_without_step']:,} |",
        f"| no end in time | {sum(each['result'] == 'timeout' and counted(each) for each in found):,} |",
        _LEGEND,
    ]
    estimators = [each for each in found if each["name"].split("/")[1] in COMPOSITIONS and not _of(each, LIBRARIES)]
    for title, kind in (("Classifiers", True), ("Regressors", False)):
        lines += [f"## {title}\n", *_table(each for each in estimators if _classifies(each) is kind), ""]
    lines += ["## Compositions\n", *_composition_table(each for each in found if _of(each, ["compositions"])), ""]
    for library in LIBRARIES:
        chosen = [each for each in found if _of(each, [library])]
        if chosen:
            exact, total = share_exact(chosen)
            title = f"## {library} {version(library)}\n\n{exact:,} of {total:,} configurations are served exactly.\n"
            lines += [title, *_composition_table(chosen), ""]
    lines += ["## Why they are refused\n", *_reasons(found), ""]
    return "\n".join(lines).rstrip() + "\n"


NULLS = {"none": "no nulls", "training": "nulls", "later": "nulls later", "open": "beyond"}
COMPOSITIONS = {"bare": "alone", "scaled": "behind a scaler", "encoded": "behind imputer and one-hot"}


def _refused(found: list[Record]) -> int:
    return sum(counted(each) and each["result"] == "refused" for each in found)


def _classifies(record: Record) -> bool:
    return record["name"].split("/")[2] not in ("diabetes", "minutes")


def _table(found: Iterable[Record]) -> list[str]:
    cells: defaultdict[tuple[str, str], defaultdict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        group, composition, _, nulls = each["name"].split("/")
        cells[group, composition][nulls].append(each)
    lines = ["| Estimator | | " + " | ".join(NULLS.values()) + " |", "|---" * (2 + len(NULLS)) + "|"]
    for (group, composition), by_nulls in cells.items():
        columns = " | ".join(_cell(by_nulls[nulls]) for nulls in NULLS)
        lines.append(f"| {f'`{group}`' if composition == 'bare' else ''} | {COMPOSITIONS[composition]} | {columns} |")
    return lines


def _of(record: Record, groups: Iterable[str]) -> bool:
    return record["name"].split("/")[0] in groups


def _composition_table(found: Iterable[Record]) -> list[str]:
    tasks = {"cancer": "binary", "flights": "binary", "wine": "multiclass", "arrivals": "multiclass"}
    cells: defaultdict[str, defaultdict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        _, composition, data, _ = each["name"].split("/")
        cells[composition][tasks.get(data, "regression")].append(each)
    names = ("binary", "multiclass", "regression")
    lines = ["| Composition | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    return lines + [f"| `{name}` | {' | '.join(_cell(by[task]) for task in names)} |" for name, by in cells.items()]


def _cell(records: list[Record]) -> str:
    words = {
        "exact": "works",
        "rows_refused": "works, refuses some rows",
        "refused": "refused",
        "wrong": "**differs**",
        "traceback": "**fails**",
        "refused_without_step": "**refused, no step**",
        "timeout": "**too slow**",
    }
    found = list(dict.fromkeys(words[each["result"]] for each in records if counted(each)))
    return ", ".join(found) or "-"


def _reasons(found: list[Record]) -> list[str]:
    """Return a table of the sentences with which configurations are refused, the most frequent first."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for each in found:
        if counted(each) and each["result"] == "refused":
            reasons[_sentence(each)].append("/".join(each["name"].split("/")[:2]))
    lines = ["| Refused with | Configurations | Such as |", "|---|---|---|"]
    for sentence, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(
            f"| {sentence} | {len(names)} | {', '.join(f'`{name}`' for name in list(dict.fromkeys(names))[:2])} |"
        )
    return lines


def _sentence(record: Record) -> str:
    text = re.sub(r"^\w+: (?:model '\w+': )?", "", record["message"]).replace("|", "\\|").replace("\n", " ")
    return re.sub(r"\b\d[\d.,]*(e-?\d+)?\b", "N", text)[:400]
