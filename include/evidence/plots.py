"""The card's plots, as SVG with the colours and fonts of the page around it.

Matplotlib is imported only when a plot is drawn. It draws in placeholder colours, which become variables of the
page's style sheet, so the plots follow the reader's dark or light mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from include.records import Bin, CardData, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.6, 3.2
# Measuring the labels takes as long as all the rest, so most plots have margins that are known to be enough.
_AXES = (0.13, 0.145, 0.85, 0.83)  # left, bottom, width, height
_WIDE_LABELS = {"importances", "predicted_observed"}
INK, FAINT = "#010101", "#020202"
SERIES = ("#030303", "#040404", "#050505", "#060606")
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_VARIABLES = {INK: "--ink", FAINT: "--faint", **{each: f"--series-{i}" for i, each in enumerate(SERIES, 1)}}
_MAX_BARS = 15
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def draw(card: CardData, task: str) -> dict[str, str]:
    """Draw the plots of a card.

    Returns
    -------
    dict of str to str
        A complete ``<svg>`` element by name: ``roc``, ``precision_recall``, ``calibration``,
        ``scores``, ``residuals``, ``importances``; of a regression ``predicted_observed`` in place of ``calibration``.
        A plot that was not measured is left out.
    """
    wanted: dict[str, Callable[[Axes], None]] = {}
    if card.roc:
        wanted["roc"] = lambda axes: _curves(axes, card.roc, "false positive rate", "true positive rate", chance=True)
    if card.precision_recall:
        wanted["precision_recall"] = lambda axes: _curves(axes, card.precision_recall, "recall", "precision")
    if card.calibration and task == "regression":
        wanted["predicted_observed"] = lambda axes: _reliability(axes, card.calibration, "prediction", "mean target")
    elif card.calibration:
        wanted["calibration"] = lambda axes: _reliability(axes, card.calibration)
    if card.scores:
        label = "predicted value" if task == "regression" else "predicted probability"
        wanted["scores"] = lambda axes: _histograms(axes, {"candidate": card.scores}, label)
    if card.residuals:
        wanted["residuals"] = lambda axes: _histograms(axes, card.residuals, "prediction minus target")
    if card.importances:
        wanted["importances"] = lambda axes: _importances(axes, card)
    return {name: _svg(name, paint) for name, paint in wanted.items()}


def _svg(name: str, paint: Callable[[Axes], None]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}  # Matplotlib's stubs give each key another type
    with mpl.rc_context(style):
        wide = name in _WIDE_LABELS
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained" if wide else None)
        axes = figure.add_subplot() if wide else figure.add_axes(_AXES)
        paint(axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _embedded(written.getvalue(), name)


def _embedded(svg: str, name: str) -> str:
    """Turn an SVG file into an element: without header, with unique ids, and with the colours and fonts of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'url\(#([^)"]+)\)', rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]+;? ?", "", svg)
    svg = svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()


def _curves(axes: Axes, curves: Mapping[str, Curve], x: str, y: str, *, chance: bool = False) -> None:
    if chance:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    for (who, curve), look in zip(curves.items(), _looks(len(curves)), strict=False):
        axes.plot(curve.x, curve.y, label=who.removeprefix("candidate: "), **look)
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    _finish(axes)


def _reliability(
    axes: Axes, bins: Mapping[str, tuple[Bin, ...]], x: str = "predicted probability", y: str = "observed share"
) -> None:
    values = []
    for (who, each), look in zip(bins.items(), _looks(len(bins)), strict=False):
        points = [(b.predicted, b.observed) for b in each if b.predicted is not None and b.observed is not None]
        axes.plot([at for at, _ in points], [at for _, at in points], marker="o", markersize=3, label=who, **look)
        values += [value for point in points for value in point]
    low, high = (min(values), max(values)) if y == "mean target" else (0.0, min(1.0, 1.05 * max(values, default=1.0)))
    margin = 0.04 * (high - low) or 0.02
    low, high = (low - margin if y == "mean target" else 0.0), high + margin
    axes.plot([low, high], [low, high], color=FAINT, linewidth=0.8, zorder=0)
    axes.set(xlabel=x, ylabel=y, xlim=(low, high), ylim=(low, high))
    _finish(axes)


def _histograms(axes: Axes, histograms: Mapping[str, tuple[Bin, ...]], x: str) -> None:
    for (who, bins), look in zip(histograms.items(), _looks(len(histograms)), strict=False):
        total = sum(each.rows for each in bins) or 1
        edges = [bins[0].low, *(each.high for each in bins)] if bins else []
        axes.stairs([each.rows / total for each in bins], edges, label=who, **look)
    axes.set(xlabel=x, ylabel="share of rows", ylim=(0, None))
    _finish(axes)


def _importances(axes: Axes, card: CardData) -> None:
    shown = card.importances[:_MAX_BARS][::-1]
    axes.barh(
        [each.feature for each in shown],
        [each.mean for each in shown],
        xerr=[each.spread for each in shown],
        color=SERIES[0],
        error_kw={"ecolor": INK, "elinewidth": 0.8},
        height=0.6,
    )
    axes.set(xlabel=f"increase of {card.importance_loss or 'the loss'}")
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _looks(count: int) -> list[dict[str, Any]]:
    """Return the styles of `count` lines. They differ in colour and dash, and repeat after four."""
    return [
        {"color": SERIES[i % len(SERIES)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.6} for i in range(count)
    ]


def _finish(axes: Axes) -> None:
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.legend(loc="best", fontsize=8)
