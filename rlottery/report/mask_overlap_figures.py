"""Figures of how much masks overlap: between draws of batches, seeds, criteria and tasks."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rlottery.analysis.mask_analysis import MaskAnalysis, MaskOverlap
from rlottery.report import cells
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, themed
from rlottery.report.figure_data import Block
from rlottery.report.labels import broken, drawn_name, text_inches
from rlottery.report.panels import dress
from rlottery.report.sheets import LINE, TITLE, WIDTH, Around, sheet, title_lines
from rlottery.report.wording import plural

_IN_A_ROW = 3
_CELL = 0.36
_DOT_ROW = 0.23
_MOST_ROW, _MOST_TASK = 2.1, 1.3
"""Inches of a line of the names of rows, and of tasks."""
_NUMBERS = 0.78
"""Inches for the numbers next to rows."""
_NEUTRAL = "#0072B2"


def overlap_figure(masks: MaskAnalysis, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Overlap of masks of one task: over draws of batches, seeds and criteria. None without any."""
    tasks, rows = masks.tasks, _overlap_rows(masks, looks)
    if not rows:
        return None
    names = [name or _HEADINGS[kind] for kind, name in rows]
    lines = [broken(drawn_name(name), _MOST_ROW, cells.SMALL, "bold") for name in names]
    left = 0.12 + max(text_inches(line, cells.SMALL, "bold") for of_row in lines for line in of_row)
    around = Around(left, _NUMBERS, 0.52, 0.3 + LINE * max(len(title_lines(task)) for task in tasks))
    notes = [
        "Mask overlap (Jaccard index): weights that both masks keep, of those that either keeps; means over n pairs, "
        "or over n seeds where batches differ.",
        "Point: measured. Bar: random masks with the same counts.",
    ]
    row = max(_DOT_ROW, 0.165 * max(map(len, lines)) + 0.05)
    with themed(theme):
        size = (WIDTH - left - _NUMBERS, row * len(rows) + 0.1)
        made = sheet(tasks, size, around, theme, notes=notes, in_a_row=_IN_A_ROW)
        blocks = []
        for number, (task, axes) in enumerate(zip(tasks, made.axes, strict=True)):
            found = _overlaps_of(masks, task)
            _overlap_panel(axes, task, rows, found, looks, theme, left / size[0])
            labels = ["\n".join(of_row) for of_row in lines]
            axes.set_yticks(range(len(rows)), labels, fontsize=cells.SMALL, color=theme.ink)
            axes.tick_params(axis="y", length=0)
            for (_, name), text in zip(rows, axes.get_yticklabels(), strict=True):
                text.set_fontweight("normal" if name else "bold")
            blocks += [
                _overlap_block(number, task, kind, name, found[kind, name], at)
                for at, (kind, name) in enumerate(rows)
                if (kind, name) in found
            ]
        return made.draw(_overlap_alt(masks), blocks)


def _overlap_block(number: int, task: str, kind: str, name: str, like: MaskOverlap, row: int) -> Block:
    same = {"task": task, "masks": name, "differ_in": kind, "n": like.pairs}
    each = {"jaccard": (like.jaccard,), "random": (like.chance,)}
    words = "{masks}: {jaccard:v}, random masks {random:v}; n = {n}"
    return Block((number,), same, each, "jaccard", row, words)


def overlap_between_tasks(masks: MaskAnalysis, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Overlap of an arm's masks of two tasks: one matrix per arm. None where no two tasks have equal shapes."""
    found = [like for like in masks.overlaps if like.kind == "task"]
    if not found:
        return None
    tasks = list(dict.fromkeys(task for like in found for task in (like.one, like.other)))
    arms = [arm for arm in looks if any(like.arm == arm for like in found)]
    highest = max(like.jaccard for like in found)
    left = cells.name_width(tasks, _MOST_TASK)
    in_one = int((WIDTH - left - 0.2) / _CELL)
    parts = [(arm, tasks[at : at + in_one]) for arm in arms for at in range(0, len(tasks), in_one)]
    wide = min(in_one, len(tasks))
    row = cells.row_height(tasks, _MOST_TASK, _CELL)
    size = (_CELL * wide, row * len(tasks))
    titles = [broken(_title(arm, found), WIDTH - 0.15, cells.SMALL) for arm, _ in parts]
    top = 0.2 + LINE * max(map(len, titles))
    around = Around(left, max(WIDTH - left - size[0], 0.15), cells.name_width(tasks) + 0.05, top)
    notes = [
        "Mask overlap between tasks (Jaccard index) in %: weights that both masks keep, of those that either keeps; "
        "means over n pairs of equal seed."
    ]
    with themed(theme):
        made = sheet([" ".join(title) for title in titles], size, around, theme, notes=notes, in_a_row=_IN_A_ROW)
        blocks = []
        for number, ((arm, columns), axes, title) in enumerate(zip(parts, made.axes, titles, strict=True)):
            of_pair = {}
            for like in (like for like in found if like.arm == arm):
                first, second = sorted((like.one, like.other), key=tasks.index)
                of_pair[second, first] = like
            known = [[of_pair.get((task, column)) for column in columns] for task in tasks]
            table = np.array([[like.jaccard if like else np.nan for like in of_row] for of_row in known])
            box = axes.get_position()
            axes.set_position((box.x0, box.y0, box.width * len(columns) / wide, box.height))
            cells.draw_cells(axes, table, highest, theme, lambda share: f"{100 * share:.0f}")
            x = -left / (_CELL * len(columns))
            axes.set_title("\n".join(title), fontsize=cells.SMALL, loc="left", x=x)
            cells.name_rows(axes, tasks, theme, _MOST_TASK)
            cells.name_columns(axes, columns, theme)
            blocks += [
                _pair_block(number, arm, like, (column + 0.5, at + 0.5))
                for at, of_row in enumerate(known)
                for column, like in enumerate(of_row)
                if like is not None
            ]
        above = sum(like.jaccard > like.chance for like in found)
        of_all = f"{above} of {plural(len(found), 'pair')} of tasks and arm"
        return made.draw(f"Mask overlap between tasks: above that of random masks in {of_all}", blocks)


def _title(arm: str, found: Sequence[MaskOverlap]) -> str:
    of_arm = [like for like in found if like.arm == arm]
    chance = statistics.fmean(like.chance for like in of_arm)
    fewest, most = min(like.pairs for like in of_arm), max(like.pairs for like in of_arm)
    pairs = str(most) if fewest == most else f"{fewest} to {most}"
    return f"{drawn_name(arm)} (random {100 * chance:.0f}, n = {pairs})"


def _pair_block(number: int, arm: str, like: MaskOverlap, place: tuple[float, float]) -> Block:
    same = {"arm": arm, "one": like.one, "other": like.other, "n": like.pairs}
    each = {"jaccard": (like.jaccard,), "random": (like.chance,)}
    words = "{arm}, {one} and {other}: {jaccard:%}, random masks {random:%}; n = {n} pairs"
    return Block((number,), same, each, place[0], place[1], words)


_HEADINGS = {"batches": "same seed, other batches", "seed": "other seed", "criterion": "other arm, same sparsity"}


def _overlaps_of(masks: MaskAnalysis, task: str) -> dict[tuple[str, str], MaskOverlap]:
    """(kind, label) -> overlap on a task."""
    found = {}
    for arm in masks.arms:
        if arm.task == task and arm.stability is not None:
            chance = arm.stability_chance if arm.stability_chance is not None else float("nan")
            overlap = (len(arm.stability_seeds), arm.stability, chance)
            found["batches", arm.arm] = MaskOverlap("batches", arm.arm, arm.arm, *overlap, task, arm.arm)
    for like in masks.overlaps:
        if like.task in (task, None) and like.kind in ("seed", "criterion"):
            both = like.one if like.one == like.other else f"{like.one} \N{MULTIPLICATION SIGN} {like.other}"
            found[like.kind, both] = like
    return found


def _overlap_rows(masks: MaskAnalysis, looks: Mapping[str, Look]) -> list[tuple[str, str]]:
    """(kind, label) of every row; the heading of a kind is (kind, "")."""
    found: dict[tuple[str, str], MaskOverlap] = {}
    for task in masks.tasks:
        found |= _overlaps_of(masks, task)
    places = {arm: place for place, arm in enumerate(looks)}
    rows = []
    for kind in _HEADINGS:
        of_kind = [(key, like) for key, like in found.items() if key[0] == kind]
        of_kind.sort(key=lambda item: tuple(places.get(arm, len(places)) for arm in (item[1].one, item[1].other)))
        rows += [(kind, ""), *(key for key, _ in of_kind)] if of_kind else []
    return rows


def _overlap_panel(
    axes: Axes,
    task: str,
    rows: Sequence[tuple[str, str]],
    found: Mapping[tuple[str, str], MaskOverlap],
    looks: Mapping[str, Look],
    theme: Theme,
    left: float,
) -> None:
    """Draw a panel; `left` is the width of the names next to it, as a share of the axes."""
    dress(axes, theme)
    axes.grid(visible=False, axis="y")
    for row, key in enumerate(rows):
        like = found.get(key)
        if like is None:
            continue
        look = looks.get(like.one)
        colour, marker = (look.colour, look.marker or "o") if look and like.one == like.other else (_NEUTRAL, "o")
        axes.plot([like.chance, like.jaccard], [row, row], color=theme.quiet, linewidth=1)
        axes.plot([like.chance] * 2, [row - 0.32, row + 0.32], color=theme.ink, linewidth=2)
        axes.plot([like.jaccard], [row], marker, color=colour, markersize=6.5, clip_on=False)
        words: dict[str, Any] = {"fontsize": cells.SMALL, "va": "center", "textcoords": "offset points"}
        axes.annotate(f"{like.jaccard:.2f}", (1, row), (6, 0), color=theme.ink, **words)
        axes.annotate(str(like.pairs), (1, row), (36, 0), color=theme.quiet, **words)
    head: dict[str, Any] = {"fontsize": cells.SMALL, "color": theme.quiet, "style": "italic", "va": "center"}
    axes.annotate("n", (1, -0.9), (36, 0), textcoords="offset points", **head)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    # Above the names of the rows, where there is room for a long one.
    axes.set_title("\n".join(title_lines(task)), loc="left", weight="bold", fontsize=TITLE, x=-left, pad=13)
    axes.set_xlabel("Jaccard index", fontsize=cells.SMALL)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def _overlap_alt(masks: MaskAnalysis) -> str:
    parts = []
    for kind, words in (("seed", "between seeds"), ("criterion", "between arms with the same sparsity")):
        of_kind = [like for like in masks.overlaps if like.kind == kind]
        if of_kind:
            chance = _range(like.chance for like in of_kind)
            parts.append(f"{words} {_range(like.jaccard for like in of_kind)}, random masks {chance}")
    stable = [arm.stability for arm in masks.arms if arm.stability is not None]
    if stable:
        parts.append(f"over draws of the batches {_range(stable)}")
    return f"Mask overlap (Jaccard index): {'; '.join(parts)}"


def _range(values: Iterable[float]) -> str:
    known = list(values)
    return f"{min(known):.2f} to {max(known):.2f}"
