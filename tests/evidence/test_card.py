"""``card.html``: one page with everything in it, that loads nothing, and says what was not measured."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser

import pytest

from include.evidence import card_html, champion_status, draw, with_status
from include.records import Decision, Difference, Promotion, PromotionHold
from include.spec import Numeric
from tests.evidence.packs import CLASSES, pack_of

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction", "ping", "manifest"}
PLOTS = {
    "binary": ["ROC", "Precision and recall", "Calibration", "Predictions", "Importances"],
    "multiclass": ["ROC", "Precision and recall", "Calibration", "Importances"],
    "regression": ["Predicted and observed", "Residuals", "Predictions", "Importances"],
}


@cache
def card(task: str = "binary", *, bare: bool = False) -> str:
    pack = pack_of(task, bare=bare)
    return card_html(pack, draw(pack.card, task) if pack.card else {}).decode()


class Page(HTMLParser):
    """Notes what a browser would do with a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.said.append(data)

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def text(self) -> str:
        return re.sub(r"[ \t\n]+", " ", " ".join(self.said))


def loads(text: str) -> list[str]:
    """Return whatever makes a browser ask for something that is not in the page."""
    page = Page(text)
    found = [
        f"<{tag}>" for tag, _ in page.tags if tag in {"script", "link", "iframe", "object", "embed", "base", "form"}
    ]
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            local = value.startswith(("data:", "#"))
            if (name in LOADING or name.endswith("href")) and not local:
                found.append(f"<{tag} {name}={value}>")
    return found + re.findall(r"@import|url\((?!#|data:)[^)]*\)", text)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("task", CLASSES)
def test_a_card_loads_nothing_and_forbids_it_by_its_own_policy(task: str, bare: bool) -> None:
    page = Page(card(task, bare=bare))
    assert loads(card(task, bare=bare)) == []
    policies = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY]


def test_what_would_load_something_is_seen() -> None:
    for bad in (
        '<img src="http://a/b">', "<style>@import 'x'</style>", '<link rel="stylesheet" href="x.css">',
        "<script></script>", '<p style="background: url(//a/b)">', '<use xlink:href="http://a/b#c">',
    ):  # fmt: skip
        assert loads(bad), bad
    assert loads('<p style="clip-path: url(#a)"><img src="data:image/png;base64,x"><use href="#a">') == []


@pytest.mark.parametrize("task", CLASSES)
def test_a_card_draws_what_its_task_needs(task: str) -> None:
    page = Page(card(task))
    assert [each["aria-label"] for each in page.all("figure")] == PLOTS[task]
    assert len(page.all("svg")) == len(PLOTS[task])
    assert "Not measured:" not in page.text


def test_a_multiclass_card_shows_each_class() -> None:
    shown = Page(card("multiclass")).text
    for name in CLASSES["multiclass"]:
        assert shown.count(name) >= 3  # in ROC, in precision and recall, in the holdout's rows


@pytest.mark.parametrize("task", CLASSES)
def test_what_was_not_measured_is_said_to_be(task: str) -> None:
    said = Page(card(task, bare=True)).text
    assert f"Not measured: {', '.join(PLOTS[task])}." in said
    for words in ("Confidence intervals: not measured.", "Rehearsal: not measured", "Trained twice: not measured"):
        assert words in said
    assert "There was no champion to compare with." in said


@pytest.mark.parametrize(("task", "flips"), [("binary", ", 3.12% of labels flipped"), ("regression", "")])
def test_a_card_tells_how_far_the_answers_are_from_the_champions(task: str, flips: str) -> None:
    told = f"rank correlation 0.9731, 21.04% of rows in another decile{flips}."
    assert f"Compared with the champion's predictions on these rows: {told}" in Page(card(task)).text


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_classification_shows_its_confusion_matrix_with_recall_and_precision(task: str) -> None:
    said = Page(card(task)).text
    columns = " ".join(f"predicted {name}" for name in CLASSES[task])
    assert f"True class {columns} Recall Precision" in said
    counts = pack_of(task).card.confusion
    for at, (name, row) in enumerate(zip(CLASSES[task], counts, strict=True)):
        recall, precision = row[at] / sum(row), row[at] / sum(each[at] for each in counts)
        assert f"{name} {' '.join(f'{count:,}' for count in row)} {recall:.4f} {precision:.4f}" in said


def test_a_class_without_rows_or_never_predicted_has_no_figure() -> None:
    pack = pack_of("multiclass")
    pack = pack.model_copy(
        update={"card": pack.card.model_copy(update={"confusion": ((5, 0, 0), (0, 0, 0), (1, 0, 2))})}
    )
    assert "versicolor 0 0 0 no rows never predicted" in Page(card_html(pack, {}).decode()).text


def test_a_difference_that_is_significant_and_for_the_worse_is_marked() -> None:
    for better in (True, False):
        sign = 1 if better else -1
        worse = Difference(value=sign * 0.02, low=sign * 0.02 - 0.01, high=sign * 0.02 + 0.01, standard_error=0.005,
                           method="bootstrap by block")  # fmt: skip
        pack = pack_of()
        changed = {"roc_auc": worse, "log_loss": worse}
        evaluation = pack.evaluation.model_copy(update={"baseline_differences": changed})
        said = Page(card_html(pack.model_copy(update={"evaluation": evaluation}), {}).decode()).text
        assert said.count("significantly worse") == 1, "one of the two is better when it is higher, one when lower"


def test_features_past_thirty_are_folded() -> None:
    pack = pack_of(bare=True)
    many = tuple(Numeric(name=f"feature_{at}", unit="1", minimum=0, maximum=1) for at in range(31))
    pack = pack.model_copy(update={"declaration": pack.declaration.model_copy(update={"features": many})})
    page = Page(card_html(pack, {}).decode())
    assert "31 features, the first 30 of them" in page.text
    assert "The other 1 features" in page.text
    assert [page.text.count(f"feature_{at} ") for at in (0, 29, 30)] == [1, 1, 1]
    assert "The other" not in Page(card()).text


def test_a_status_is_one_line_at_the_top_and_is_escaped() -> None:
    shown = with_status(card().encode(), "Version 7 is the champion, promoted by <b>ann</b>.").decode()
    assert "Version 7 is the champion, promoted by <b>ann</b>." in Page(shown).text
    assert shown.index("is the champion") < shown.index("<h1>")
    assert loads(shown) == []


def promoted(*versions: int) -> list[Promotion]:
    return [
        Promotion(
            model="m", sequence=at, to_version=version, from_version=None, actor="ann", reason="a reason of a test",
            evidence_digest="e", promoted_at=datetime(2026, 3, at, 4, 5, tzinfo=UTC),
        )
        for at, version in enumerate(versions, start=1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("versions", "status"),
    [
        ((), "Version 2 is not the champion: no version of this model was promoted yet."),
        ((1,), "Version 2 is not the champion. It never was. Version 1 is, since 2026-03-01 04:05 UTC."),
        ((1, 2), "Version 2 is the champion since 2026-03-02 04:05 UTC, promoted by ann."),
        (
            (1, 2, 1),
            (
                "Version 2 is not the champion. It was until 2026-03-03 04:05 UTC. "
                "Version 1 is, since 2026-03-03 04:05 UTC."
            ),
        ),
        (
            (2, 3, 2, 4, 5),
            (
                "Version 2 is not the champion. It was until 2026-03-04 04:05 UTC. "
                "Version 5 is, since 2026-03-05 04:05 UTC."
            ),
        ),
        ((2, 1, 2), "Version 2 is the champion since 2026-03-03 04:05 UTC, promoted by ann."),
    ],
)
def test_the_status_tells_who_is_champion_now_and_until_when_this_was(versions: tuple[int, ...], status: str) -> None:
    assert champion_status(2, promoted(*versions)) == status


def test_the_status_tells_of_a_hold() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    hold = PromotionHold(model="parcels", held_until=None, actor="ann", reason="because of the alarms", set_at=at)
    assert champion_status(2, promoted(2), hold).endswith(
        "ann holds promotions of 'parcels' since 2026-03-01 12:00 UTC, until it is lifted "
        "(reason: because of the alarms): no retrain promotes a version."
    )


def test_a_card_tells_the_whole_evidence() -> None:
    pack, said = pack_of(), Page(card()).text
    for gate in pack.decision.gates:
        assert gate.sentence in said
    for digest in (pack.snapshot.digest, pack.spec_digest, pack.code_digest, *pack.files.values()):
        assert digest in said
    for words in (
        "flight_delay, version 7", "Accepted : 3 of 3 gates", "0.7269 [0.7124,\N{NO-BREAK SPACE}0.7414]",
        "version 6, evaluated again on the same rows", "overlapping holdouts: 2 (versions 5, 6)", "carrier = carrier A",
        "0 to 5000 km", "and 4 more", "78,120 rows", "1 day", "25,870 rows", "20, predictions equal bit for bit",
        "0.31 ms and 1.42 ms over 2,400 requests", "71.3 MiB", "the same bytes", "scikit-learn 1.9.1", "sluice verify",
    ):  # fmt: skip
        assert words in said, words


def test_a_rejected_candidate_s_card_begins_with_the_reasons() -> None:
    pack = pack_of(accepted=False)
    said = Page(card_html(pack, {}).decode()).text
    assert "Rejected : 2 of 3 gates passed. roc_auc less the champion's" in said


def test_words_from_outside_are_shown_and_not_run() -> None:
    evil = "<script>alert(1)</script>"
    pack = pack_of(bare=True)
    gate = pack.decision.gates[0].model_copy(update={"sentence": evil})
    pack = pack.model_copy(
        update={
            "decision": Decision(accepted=True, gates=(gate,)),
            "run_id": evil,
            "declaration": pack.declaration.model_copy(update={"description": evil, "owner": '"><img src=x>'}),
        }
    )
    text = card_html(pack, {}).decode()
    assert loads(text) == []
    assert Page(text).text.count(evil) == 3


@pytest.mark.parametrize("task", CLASSES)
def test_ids_are_unique_and_every_reference_has_its_target(task: str) -> None:
    text = card(task)
    ids = [attributes["id"] for _, attributes in Page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)) <= {(each, "") for each in ids} | {
        ("", each) for each in ids
    }


def test_plots_take_their_colours_and_letters_from_the_page() -> None:
    svg = "".join(re.findall(r"<svg.*?</svg>", card(), re.DOTALL))
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]\b", svg)
    assert "font-family" not in svg
    assert "var(--series-1)" in svg


def test_the_same_evidence_gives_the_same_page_to_the_byte() -> None:
    pack = pack_of("regression")
    assert card_html(pack, draw(pack.card, "regression")).decode() == card("regression")
