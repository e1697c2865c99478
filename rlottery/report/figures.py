"""Learning curves: every seed a thin line, the mean of every arm a thick one, dense in grey."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rlottery.analysis.runs import Metric, Run, arm_names, metric_of
from rlottery.config import Config
from rlottery.report.words import count
from rlottery.storage.disk import write_bytes
from rlottery.storage.paths import DENSE

DENSE_COLOUR = "#404040"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours that show on white. After the last they start again, with other dashes."""

FloatArray = NDArray[np.float64]
Curve = tuple[FloatArray, FloatArray]
"""Environment steps, rising, and the score at each."""

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_PANEL_INCHES = (8.0, 3.7)
_HEAD_INCHES = 0.85
_COLUMNS = 2
_QUIET = "#5A5A5A"
_LABELS: dict[Metric, str] = {"success": "success rate", "return": "mean return"}
_STYLE = {"font.size": 11, "svg.hashsalt": "rlottery", "axes.edgecolor": "#A0A0A0", "axes.labelcolor": _QUIET}


@dataclass(frozen=True)
class _Style:
    colour: str
    dash: Any
    width: float
    thin_alpha: float


@dataclass(frozen=True)
class _Label:
    """What stands beside an arm's curve, and the score it belongs to."""

    text: str
    value: float
    style: _Style


def learning_curves(runs: Mapping[str, Sequence[Run]], config: Config, path: Path) -> None:
    """Write one panel a task to `path` (PNG, 150 dpi) and beside it as SVG.

    Runs that failed end in a cross and are no part of the mean.

    Args:
        runs: task id -> its runs.
    """
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = _figure(runs, config)
        write_bytes(path, _drawn(figure, "png"))
        write_bytes(path.with_suffix(".svg"), _drawn(figure, "svg"))


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves, as far as all of them reach.

    It has a value at every step where one of them has; between its own steps a curve is a straight line.
    """
    begin, end = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    every = np.unique(np.concatenate([steps for steps, _ in curves]))
    grid = every[(begin <= every) & (every <= end)]
    return grid, np.mean([np.interp(grid, steps, values) for steps, values in curves], axis=0)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights from 0 to 1 moved to at least `gap` apart, each cluster around its mean.

    The order stays; of equal heights the first comes to lie highest.
    """
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    clusters: list[list[int]] = []
    for index in sorted(range(len(heights)), key=lambda index: (heights[index], -index)):
        clusters.append([index])
        while len(clusters) > 1 and (
            _places(clusters[-1], heights, gap)[0] - _places(clusters[-2], heights, gap)[-1] < gap * (1 - 1e-9)
        ):
            upper = clusters.pop()
            clusters[-1] += upper
    moved = {
        index: place
        for cluster in clusters
        for index, place in zip(cluster, _places(cluster, heights, gap), strict=True)
    }
    return [moved[index] for index in range(len(heights))]


def _places(cluster: Sequence[int], heights: Sequence[float], gap: float) -> list[float]:
    reach = gap * (len(cluster) - 1) / 2
    centre = min(max(sum(heights[index] for index in cluster) / len(cluster), reach), 1 - reach)
    return [centre - reach + gap * place for place in range(len(cluster))]


def _figure(runs: Mapping[str, Sequence[Run]], config: Config) -> Figure:
    columns = min(len(runs), _COLUMNS)
    rows = -(-len(runs) // columns)
    size = (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows + _HEAD_INCHES)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    head, body = figure.subfigures(2, 1, squeeze=False, height_ratios=(_HEAD_INCHES, size[1] - _HEAD_INCHES))[:, 0]
    failed = any(run.status != "done" and run.evaluations for of_task in runs.values() for run in of_task)
    _write_title(head, config, failed=failed)
    panels = body.subplots(rows, columns, squeeze=False).ravel()
    styles = _styles(arm_names(run for of_task in runs.values() for run in of_task))
    for axes, (task, of_task) in zip(panels, runs.items(), strict=False):
        _draw_task(axes, task, of_task, styles, config)
    for axes in panels[len(runs) :]:
        axes.set_axis_off()
    return figure


def _styles(arms: Iterable[str]) -> dict[str, _Style]:
    tickets = [arm for arm in arms if arm != DENSE]
    thin_alpha = 0.45 if len(tickets) <= 4 else 0.2
    looks = cycle(_Style(colour, dash, 2.4, thin_alpha) for dash, colour in product(_DASHES, PALETTE))
    return {DENSE: _Style(DENSE_COLOUR, "-", 4.0, thin_alpha), **dict(zip(tickets, looks, strict=False))}


def _write_title(head: SubFigure, config: Config, *, failed: bool) -> None:
    left = 0.1 / (_PANEL_INCHES[0] * min(len(config.tasks), _COLUMNS))
    tickets = "Tickets and controls" if config.arms else "Lottery tickets"
    title = f"{tickets} beside the dense agents they were cut from"
    head.text(left, 0.64, title, size=15, weight="bold", va="center")
    seeds = len(config.seeds)
    lines = f"Thin: single seeds. Thick: mean over {seeds} seeds." if seeds > 1 else "One seed."
    lines += " Cross: failed run." if failed else ""
    head.text(left, 0.2, f"{lines} Evaluated without exploration.", color=_QUIET, va="center")


def _draw_task(axes: Axes, task: str, runs: Sequence[Run], styles: Mapping[str, _Style], config: Config) -> None:
    axes.set_title(task, loc="left", weight="bold", fontsize=12)
    shown = [run for run in runs if run.evaluations]
    if not shown:
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, ha="center", color=_QUIET)
        axes.set_axis_off()
        return
    metric = metric_of(shown)
    # Dense comes first: its curve lies beneath those of the tickets, and is wider to be seen there.
    labels = [
        _draw_arm(axes, arm, [run for run in shown if run.arm == arm], metric, styles[arm], len(config.seeds))
        for arm in arm_names(shown)
    ]
    axes.set_xlabel("environment steps")
    axes.set_ylabel(f"{_LABELS[metric]} of {count(config.evaluation.episodes, 'episode')}")
    _dress(axes, metric, max(run.began_at + run.evaluations[-1].env_steps for run in shown))
    _write_labels(axes, labels)


def _draw_arm(axes: Axes, arm: str, runs: Sequence[Run], metric: Metric, style: _Style, asked: int) -> _Label:
    """Draw the curves of an arm that has at least one evaluation."""
    done = [_curve(run, metric) for run in runs if run.status == "done"]
    failed = [_curve(run, metric) for run in runs if run.status != "done"]
    for steps, values in failed + (done if len(done) > 1 else []):
        axes.plot(steps, values, color=style.colour, linewidth=1.0, alpha=style.thin_alpha)
    for steps, values in failed:
        axes.plot(steps[-1:], values[-1:], "x", color=style.colour, markersize=8, markeredgewidth=2, clip_on=False)
    if not done:
        return _Label(f"{arm} (not finished)", float(failed[0][1][-1]), style)
    steps, values = mean_curve(done)
    axes.plot(steps, values, color=style.colour, linestyle=style.dash, linewidth=style.width)
    missing = f" ({len(done)} of {asked} seeds)" if len(done) < asked else ""
    return _Label(arm + missing, float(values[-1]), style)


def _dress(axes: Axes, metric: Metric, last_step: int) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color="#A0A0A0", labelcolor=_QUIET, length=3)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(0, max(last_step, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda steps, _: _steps_text(steps))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if metric == "success":
        axes.set_ylim(-0.03, 1.03)
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace("-", "\N{MINUS SIGN}"))


def _write_labels(axes: Axes, labels: Sequence[_Label]) -> None:
    """Names at the right edge, as high as their curves end, moved apart where they would collide."""
    low, high = axes.get_ylim()
    ends = [(label.value - low) / (high - low) for label in labels]
    places = spread(ends, gap=0.075)
    for label, end, place in zip(labels, ends, places, strict=True):
        look = {"color": label.style.colour, "linestyle": label.style.dash, "linewidth": 1.2}
        axes.plot([1.004, 1.03], [end, place], transform=axes.transAxes, clip_on=False, **look)
        axes.text(
            1.037,
            place,
            label.text,
            color=label.style.colour,
            transform=axes.transAxes,
            va="center",
            weight="bold",
        )


def _curve(run: Run, metric: Metric) -> Curve:
    steps = np.array([run.began_at + evaluation.env_steps for evaluation in run.evaluations], dtype=np.float64)
    return steps, np.array([evaluation.scores[metric] for evaluation in run.evaluations], dtype=np.float64)


def _steps_text(steps: float) -> str:
    if steps >= 1e6:
        return f"{steps / 1e6:g}M"
    return f"{steps / 1e3:g}k" if steps >= 1e3 else f"{steps:g}"


def _drawn(figure: Figure, form: str) -> bytes:
    stream = io.BytesIO()
    # Without the date, the same study gives the same file.
    figure.savefig(stream, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    return stream.getvalue()
