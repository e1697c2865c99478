"""Learning curves of a task: one panel per sparsity, with the dense agents in every panel."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from rlottery.analysis.arrays import mean_of
from rlottery.analysis.runs import Metric, Run, metric_of
from rlottery.report import panels
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, themed
from rlottery.report.figure_data import Block, shortened
from rlottery.report.ticks import number_ticks, step_ticks
from rlottery.report.wording import METRIC_NAMES, plural
from rlottery.storage.paths import DENSE

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Environment steps, rising, and the score at each."""

MOST_CURVES = 100
"""How many runs of an arm are drawn as single curves. More could not be told apart."""

_FAR = 0.25
"""Scores before training are cut off if they lie below all others by more than this share of the others' range."""


def curve_panels(task: str, runs: Sequence[Run], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Every seed as a thin line, the mean of those that are done as a thick one, a cross where a run ended early.

    Of more than `MOST_CURVES` runs of an arm, only the first are thin lines; the mean is of all. Arms without a known
    sparsity share a panel. None if no run has an evaluation.
    """
    shown = [run for run in runs if run.evaluations and run.arm in looks]
    if not shown:
        return None
    metric = metric_of(shown)
    groups = _panels(shown, looks)
    drawn_arms = [DENSE, *(arm for _, arms in groups for arm in arms)]
    keys = panels.keys(looks[arm] for arm in drawn_arms if arm in looks)
    limits = (-0.03, 1.03) if metric == "success" else panels.padded(_span(shown, metric), 0.04)
    labels = "environment steps", panels.METRIC_AXES[metric]
    with themed(theme):
        made = panels.titled_panels([title for title, _ in groups], 2.2, labels, limits, theme, keys)
        for panel, (_, arms) in zip(made.axes, groups, strict=True):
            for arm in [DENSE, *arms]:
                _draw_arm(panel, [run for run in shown if run.arm == arm], metric, looks.get(arm))
            panel.set_xlim(0, max(run.began_at + run.evaluations[-1].env_steps for run in shown) or 1)
            panel.set_ylim(*limits)
            step_ticks(panel)
            number_ticks(panel, "y", share=metric == "success")
        of = plural(len({run.seed for run in shown}), "seed")
        parts = "; ".join(f"{title}: {', '.join(arms) or DENSE}" for title, arms in groups)
        measured = f"{panels.METRIC_AXES[metric]} over environment steps, {of}, dense agents in every panel"
        blocks = [
            block
            for arm in drawn_arms
            if arm in looks
            for block in _blocks(
                task,
                [run for run in shown if run.arm == arm],
                metric,
                tuple(at for at, (_, arms) in enumerate(groups) if arm in (DENSE, *arms)),
            )
        ]
        return made.draw(f"Learning curves on {task}: {measured}. {parts}.", blocks)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves, over the steps that all of them cover.

    It has a value at every step of any curve; between its own steps, a curve is interpolated linearly.
    """
    begin, end = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    every = np.unique(np.concatenate([steps for steps, _ in curves]))
    steps = every[(begin <= every) & (every <= end)]
    return steps, np.mean([np.interp(steps, *curve) for curve in curves], axis=0)


def below_panels(runs: Sequence[Run], looks: Mapping[str, Look]) -> float | None:
    """The lowest score before training, if it is cut off; else None."""
    shown = [run for run in runs if run.evaluations and run.arm in looks]
    if not shown or metric_of(shown) == "success":
        return None
    lowest = min(evaluation.scores["return"] for run in shown for evaluation in run.evaluations)
    return lowest if lowest < _span(shown, "return")[0] else None


def _span(shown: Sequence[Run], metric: Metric) -> tuple[float, float]:
    """The lowest and highest score to show.

    Single initial weights may score far below all others, and would leave little room for the curves.
    """
    scores = [evaluation.scores[metric] for run in shown for evaluation in run.evaluations]
    lowest, high = min(scores), max(scores)
    dense = [run.evaluations[0] for run in shown if run.arm == DENSE]
    before = [evaluation.scores[metric] for evaluation in dense if evaluation.env_steps == 0]
    trained = [evaluation.scores[metric] for run in shown for evaluation in run.trained]
    kept = min([*trained, *([mean_of(before)] if before else [])], default=lowest)
    return (kept if kept - lowest > _FAR * (high - kept) else lowest), high


def _panels(shown: Sequence[Run], looks: Mapping[str, Look]) -> list[tuple[str, list[str]]]:
    arms = [arm for arm in looks if arm != DENSE and any(run.arm == arm for run in shown)]
    groups = panels.sparsity_groups(looks[arm] for arm in arms)
    made = [(f"{sparsity} sparsity", of_group) for sparsity, of_group in groups]
    unknown = [arm for arm in arms if looks[arm].sparsity is None]
    if unknown:
        made.append(("sparsity not known", unknown))
    return made or [("dense", [])]


def _draw_arm(axes: Axes, runs: Sequence[Run], metric: Metric, look: Look | None) -> None:
    if look is None or not runs:
        return
    faint = 0.3 if len(runs) <= 6 else 0.15
    thickness = 1.5 if look.quiet else 2.3
    behind = 2 if look.arm == DENSE else 3
    done = []
    for index, run in enumerate(runs):
        steps, values = _curve(run, metric)
        if index < MOST_CURVES and (len(runs) > 1 or run.status != "done"):
            axes.plot(steps, values, color=look.colour, linewidth=0.7, alpha=faint, zorder=behind)
        if run.status == "done":
            done.append((steps, values))
        else:
            axes.plot(steps[-1:], values[-1:], "x", color=look.colour, markersize=7, markeredgewidth=1.8, zorder=5)
    if done:
        steps, values = mean_curve(done)
        axes.plot(steps, values, color=look.colour, linestyle=look.dash, linewidth=thickness, zorder=behind + 2)


def _curve(run: Run, metric: Metric) -> Curve:
    steps = np.array([run.began_at + evaluation.env_steps for evaluation in run.evaluations], dtype=np.float64)
    return steps, np.array([evaluation.scores[metric] for evaluation in run.evaluations], dtype=np.float64)


def _blocks(task: str, runs: Sequence[Run], metric: Metric, where: tuple[int, ...]) -> list[Block]:
    """The numbers of an arm's curves: those that are drawn as thin lines, and their mean with its range over seeds."""
    found, done = [], [_curve(run, metric) for run in runs if run.status == "done"]
    value = f"{{{metric}:v}} {METRIC_NAMES[metric]} at {{env_steps}} steps"
    for run in runs[:MOST_CURVES]:
        steps, values = _curve(run, metric)
        same = {"task": task, "arm": run.arm, "statistic": "seed", "seed": run.seed, "status": run.status}
        each = {"env_steps": tuple(map(int, steps)), metric: shortened(values)}
        ended = "" if run.status == "done" else f" ({run.status})"
        found.append(Block(where, same, each, "env_steps", metric, f"{{arm}}, seed {{seed}}{ended}: {value}"))
    if len(done) > 1:
        steps, values = mean_curve(done)
        every = np.array([np.interp(steps, *curve) for curve in done])
        ends = {"lowest": shortened(every.min(axis=0)), "highest": shortened(every.max(axis=0))}
        same = {"task": task, "arm": runs[0].arm, "statistic": "mean", "n": len(done)}
        each = {"env_steps": tuple(map(int, steps)), metric: shortened(values), **ends}
        words = f"{{arm}}, mean of n = {{n}} seeds: {value} (seeds: {{lowest:v}} to {{highest:v}})"
        found.append(Block(where, same, each, "env_steps", metric, words))
    return found
