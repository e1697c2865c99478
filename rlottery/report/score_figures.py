"""Figures of scores over tasks: aggregates, performance profiles, and probability of improvement."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.digits import Digits
from rlottery.analysis.scores import Estimate
from rlottery.report import panels
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, themed
from rlottery.report.figure_data import Block, shortened
from rlottery.report.sheets import NARROW, SIZE, TITLE, WIDTH, Around, sheet
from rlottery.report.ticks import number_ticks, per_cent
from rlottery.report.wording import BOOTSTRAP
from rlottery.storage.paths import DENSE


def profiles(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Performance profiles: one panel per sparsity, with the dense agents in every panel."""
    shown = [arm for arm in across if arm.arm in looks]
    groups = panels.sparsity_groups(looks[arm.arm] for arm in shown)
    if not groups:
        return None
    where = {
        arm.arm: tuple(at for at, (_, of_group) in enumerate(groups) if arm.arm in (DENSE, *of_group)) for arm in shown
    }
    keys = panels.keys(look for arm, look in looks.items() if where.get(arm))
    titles = [f"{sparsity} sparsity" for sparsity, _ in groups]
    labels = "normalised score, at least", "runs that reach it"
    with themed(theme):
        made = panels.titled_panels(titles, 2.05, labels, (-0.02, 1.02), theme, keys)
        for arm in shown:
            look, of = looks[arm.arm], arm.profile
            width = 1.4 if look.quiet else 2.2
            for panel in (made.axes[at] for at in where[arm.arm]):
                panel.fill_between(of.at, of.low, of.high, color=look.colour, alpha=0.13, linewidth=0, zorder=2)
                panel.plot(of.at, of.reached, color=look.colour, linestyle=look.dash, linewidth=width, zorder=3)
        for panel in made.axes:
            panel.set_xlim(0, max(float(shown[0].profile.at[-1]), 1.0))
            number_ticks(panel, "x", share=True)
            number_ticks(panel, "y", share=True, per_cent_signs=True)
        reached = {arm.arm: np.interp(0.9, arm.profile.at, arm.profile.reached) for arm in shown}
        reach = "; ".join(f"{arm} {per_cent(float(np.round(share, 2)))}" for arm, share in reached.items())
        alt = f"Performance profiles. Share of runs that reach a normalised score of 0.9: {reach}."
        return made.draw(alt, [_profile_block(arm, where[arm.arm]) for arm in shown])


def _profile_block(arm: AcrossTasks, where: tuple[int, ...]) -> Block:
    of = arm.profile
    shares = {"share": shortened(of.reached), "low": shortened(of.low), "high": shortened(of.high)}
    each = {"normalised_score": shortened(of.at), **shares}
    words = (
        f"{{arm}}: {{share:%}} of n = {{n}} runs reach a normalised score of {{normalised_score:v}} [{BOOTSTRAP} "
        "{low:%} to {high:%}]"
    )
    return Block(where, {"arm": arm.arm, "n": arm.runs}, each, "normalised_score", "share", words)


def aggregates(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """IQM, mean and median over tasks with their intervals, one row per arm."""
    shown = [arm for name in looks for arm in across if arm.arm == name]
    if not shown:
        return None
    columns: list[tuple[str, list[Estimate | None]]] = [
        ("interquartile mean", [arm.iqm for arm in shown]),
        ("mean", [arm.mean for arm in shown]),
        ("median", [arm.median for arm in shown]),
    ]
    values = "; ".join(f"{arm.arm} {Digits(2)(arm.iqm.value)}" for arm in shown)
    alt = f"Normalised score over tasks, interquartile mean of runs: {values}."
    return _rows([(arm.arm, arm.runs) for arm in shown], columns, looks, theme, 1.0, "normalised score", alt)


def improvement(across: Sequence[AcrossTasks], looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Probability that a run of an arm scores higher than a dense run, and than a run of its random control."""
    shown = [arm for name in looks for arm in across if arm.arm == name and (arm.over_dense or arm.over_control)]
    if not shown:
        return None
    columns = [("above dense", [arm.over_dense for arm in shown])]
    if any(arm.over_control for arm in shown):
        columns.append(("above its random control", [arm.over_control for arm in shown]))
    values = "; ".join(f"{arm.arm} {per_cent(round(arm.over_dense.value, 2))}" for arm in shown if arm.over_dense)
    alt = f"Probability that a run scores higher than a dense run: {values}."
    return _rows([(arm.arm, arm.runs) for arm in shown], columns, looks, theme, 0.5, "probability", alt)


def _rows(
    arms: Sequence[tuple[str, int]],
    columns: Sequence[tuple[str, Sequence[Estimate | None]]],
    looks: Mapping[str, Look],
    theme: Theme,
    even: float,
    label: str,
    alt: str,
) -> Drawn:
    """A panel for each column, with a row for each arm, given by its name and its number of runs."""
    cell = WIDTH if len(columns) < 3 else 1.3 * NARROW
    rows = panels.name_rows([name for name, _ in arms], 0.42 * cell)
    around = Around(rows.left, 0.2, 0.55, 0.34)
    size = (cell - rows.left - around.right, rows.height)
    chances = even == 0.5
    ends = [v for _, of in columns for e in of if e for v in (e.value, e.low, e.high) if v is not None]
    with themed(theme):
        made = sheet([title for title, _ in columns], size, around, theme)
        for panel, (title, estimates) in zip(made.axes, columns, strict=True):
            panels.dress(panel, theme)
            panel.set_title(title, loc="left", fontsize=TITLE)
            panel.axvline(even, color=theme.quiet, linewidth=1.0, zorder=1)
            for row, (name, _), estimate in zip(rows.centres, arms, estimates, strict=True):
                if estimate is not None:
                    _draw_row(panel, row, estimate, looks[name])
            panel.set_xlim(*((-0.03, 1.03) if chances else panels.padded([even, *ends], 0.05)))
            panel.set_xlabel(label, fontsize=SIZE)
            number_ticks(panel, "x", share=True, per_cent_signs=chances)
            panels.label_rows(panel, rows, [looks[name].colour for name, _ in arms])
        blocks = [
            _row_block(index, title, name, n, estimate, label, row)
            for index, (title, estimates) in enumerate(columns)
            for row, (name, n), estimate in zip(rows.centres, arms, estimates, strict=True)
            if estimate is not None
        ]
        return made.draw(alt, blocks)


def _draw_row(axes: Axes, row: float, estimate: Estimate, look: Look) -> None:
    width, face = (1.6, "none") if look.quiet else (3, "full")
    if estimate.low is not None and estimate.high is not None:
        line: dict[str, Any] = {"color": look.colour, "linewidth": width, "alpha": 0.55}
        axes.plot([estimate.low, estimate.high], [row, row], solid_capstyle="round", **line)
    axes.plot([estimate.value], [row], marker=look.marker or "o", markersize=6, color=look.colour, fillstyle=face)


def _row_block(index: int, title: str, arm: str, n: int, estimate: Estimate, label: str, row: float) -> Block:
    has_interval = estimate.low is not None and estimate.high is not None
    interval = f" [{BOOTSTRAP} {{low:v}} to {{high:v}}]" if has_interval else ", no interval"
    column = label.replace(" ", "_")
    same = {"arm": arm, "statistic": title, "n": n}
    each = {column: (estimate.value,), "low": (estimate.low,), "high": (estimate.high,)}
    words = f"{{arm}}, {title}, n = {{n}} runs: {{{column}:v}} {label}{interval}"
    return Block((index,), same, each, column, row, words)
