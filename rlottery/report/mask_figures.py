"""Figures of masks: what remains in every layer, idle units, which inputs are read, and how much masks overlap."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlottery.analysis.mask_analysis import ArmMasks, LayerSurvivors, MaskAnalysis, MaskOverlap
from rlottery.report import cells
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, draw, themed
from rlottery.report.labels import drawn_name
from rlottery.report.panels import Margins, dress, grid
from rlottery.report.wording import plural

_CELL = (0.43, 0.24)
_INPUT_CELL = (0.25, 0.22)
_ENTRIES = 40
"""Observation entries in one row; more continue below."""
_COLUMNS = 3
_DOT_ROW = 0.23
_NEUTRAL = "#0072B2"


def survivors_figure(masks: MaskAnalysis, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Share of every layer's weights that remain: one row per arm, one panel per task. None without masks."""
    note = "Weights that remain in each layer, in %"
    return _layer_cells(masks, looks, theme, note, lambda layer: layer.kept / layer.total)


def idle_units(masks: MaskAnalysis, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Share of hidden units that are dead or constant: one row per arm, one panel per task. None without any."""
    note = "Hidden units without a path to an output or from an input, in %"

    def idle(layer: LayerSurvivors) -> float | None:
        return (layer.dead + layer.without_input) / layer.units if layer.units else None

    return _layer_cells(masks, looks, theme, note, idle)


def input_strip(masks: MaskAnalysis, task: str, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Share of each observation entry's weights that remain in the actor: one row per arm. None without masks."""
    arms = _ordered([arm for arm in masks.arms if arm.task == task], looks)
    if not arms:
        return None
    shown = [f"{entry.index}  {entry.name}" if entry.name else str(entry.index) for entry in arms[0].inputs]
    rows = [f"{arm.arm}  (n = {len(arm.seeds)})" for arm in arms]
    kept = np.array([[entry.acting for entry in arm.inputs] for arm in arms])
    parts = [range(at, min(at + _ENTRIES, len(shown))) for at in range(0, len(shown), _ENTRIES)]
    left, names, tall = cells.name_width(rows), cells.name_width(shown), _INPUT_CELL[1] * len(arms)
    width = max(left + _INPUT_CELL[0] * len(parts[0]) + 0.3, 5.0)
    lines = cells.notes(
        width,
        f"{task}: share of each observation entry's weights in the actor's first layer that remain; means over n "
        "seeds.",
        "\N{MULTIPLICATION SIGN}: read in no seed. Number: seeds in which it is not read.",
    )
    head = cells.notes_height(lines) + 0.5
    height = head + len(parts) * (tall + names)
    alt = f"Weights of the actor that remain by observation entry on {task}: {_least_read(arms)}"
    with themed(theme):
        figure = Figure(figsize=(width, height))
        cells.write_notes(figure, lines, theme)
        cells.colour_key(
            figure, (left / width, 1 - (head - 0.4) / height, 1.6 / width, 0.1 / height), float(kept.max())
        )
        for number, part in enumerate(parts):
            bottom = height - head - (number + 1) * tall - number * names
            size = (_INPUT_CELL[0] * len(part) / width, tall / height)
            axes = figure.add_axes((left / width, bottom / height, *size))
            _input_cells(axes, arms, part, float(kept.max()), theme)
            cells.name_rows(axes, rows, theme)
            cells.name_columns(axes, [shown[i] for i in part], theme)
        return draw(figure, alt)


def overlap_figure(masks: MaskAnalysis, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Overlap of masks of one task: over draws of batches, seeds and criteria. None without any."""
    tasks, rows = _tasks(masks), _overlap_rows(masks, looks)
    if not rows:
        return None
    columns = min(len(tasks), _COLUMNS)
    left = cells.name_width([name or _HEADINGS[kind] for kind, name in rows])
    texts = cells.notes(
        left + 3.25 * columns,
        "Mask overlap (Jaccard index): weights that both masks keep, of those that either keeps; means over n pairs, "
        "or over n seeds where batches differ.",
        "Point: measured. Bar: random masks with the same counts.",
    )
    margins = Margins(left, 0.75, 0.5, cells.notes_height(texts) + 0.45, between=0.75, under=0.95)
    with themed(theme):
        figure, panels = grid(len(tasks), columns, (2.5, _DOT_ROW * len(rows) + 0.1), margins)
        cells.write_notes(figure, texts, theme)
        for number, (task, axes) in enumerate(zip(tasks, panels, strict=True)):
            _overlap_panel(axes, task, rows, _overlaps_of(masks, task), looks, theme, named=number % columns == 0)
        return draw(figure, _overlap_alt(masks))


def overlap_between_tasks(masks: MaskAnalysis, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """Overlap of an arm's masks of two tasks: one matrix per arm. None where no two tasks have equal shapes."""
    found = [like for like in masks.overlaps if like.kind == "task"]
    if not found:
        return None
    tasks = list(dict.fromkeys(task for like in found for task in (like.one, like.other)))
    arms = [arm for arm in looks if any(like.arm == arm for like in found)]
    highest = max(like.jaccard for like in found)
    side = 0.43 * len(tasks)
    columns = min(len(arms), _COLUMNS)
    names = cells.name_width(tasks)
    panel = (max(side, 2.4), max(side, 0.9))
    texts = cells.notes(
        names + columns * (panel[0] + 0.5),
        "Mask overlap between tasks (Jaccard index) in %: weights that both masks keep, of those that either keeps; "
        "means over n pairs of equal seed.",
    )
    margins = Margins(names, 0.3, names, cells.notes_height(texts) + 0.45, between=0.5, under=0.75)
    with themed(theme):
        figure, panels = grid(len(arms), columns, panel, margins)
        cells.write_notes(figure, texts, theme)
        for number, (arm, axes) in enumerate(zip(arms, panels, strict=True)):
            of_arm = [like for like in found if like.arm == arm]
            table = np.full((len(tasks), len(tasks)), np.nan)
            for like in of_arm:
                first, second = sorted((tasks.index(like.one), tasks.index(like.other)))
                table[second, first] = like.jaccard
            cells.draw_cells(axes, table, highest, theme, lambda share: f"{100 * share:.0f}")
            chance = statistics.fmean(like.chance for like in of_arm)
            fewest, most = min(like.pairs for like in of_arm), max(like.pairs for like in of_arm)
            pairs = str(most) if fewest == most else f"{fewest} to {most}"
            axes.set_title(f"{drawn_name(arm)} (random {100 * chance:.0f}, n = {pairs})", fontsize=9, loc="left")
            if number % columns == 0:
                cells.name_rows(axes, tasks, theme)
            if number >= len(arms) - columns:
                cells.name_columns(axes, tasks, theme)
        above = sum(like.jaccard > like.chance for like in found)
        of_all = f"{above} of {plural(len(found), 'pair')} of tasks and arm"
        return draw(figure, f"Mask overlap between tasks: above that of random masks in {of_all}")


def _layer_cells(
    masks: MaskAnalysis,
    looks: Mapping[str, Look],
    theme: Theme,
    note: str,
    share: Callable[[LayerSurvivors], float | None],
) -> Drawn | None:
    """One panel per task, with a row for each arm and a column for each layer that has a share."""
    names = list(dict.fromkeys(arm.arm for arm in _ordered(masks.arms, looks)))
    shares: dict[str, dict[str, dict[str, float]]] = {task: {} for task in _tasks(masks)}
    for arm in masks.arms:
        shares[arm.task][arm.arm] = {la.path: of for la in arm.layers if (of := share(la)) is not None}
    values = [of for by_arm in shares.values() for by_path in by_arm.values() for of in by_path.values()]
    if not values:
        return None
    seeds = {(arm.task, arm.arm): len(arm.seeds) for arm in masks.arms}
    paths = {task: list(next(iter(by_arm.values()))) for task, by_arm in shares.items()}
    columns = min(len(shares), _COLUMNS)
    panel = (max(_CELL[0] * max(map(len, paths.values())), 2.2), _CELL[1] * len(names))
    texts = cells.notes(cells.name_width(names) + columns * (panel[0] + 0.5), f"{note}; means over n seeds.")
    margins = Margins(cells.name_width(names), 0.45, 0.55, cells.notes_height(texts) + 0.5, between=0.55, under=1.0)
    with themed(theme):
        figure, panels = grid(len(shares), columns, panel, margins)
        cells.write_notes(figure, texts, theme)
        for number, ((task, by_arm), axes) in enumerate(zip(shares.items(), panels, strict=True)):
            rows = [[by_arm.get(name, {}).get(path, np.nan) for path in paths[task]] for name in names]
            cells.draw_cells(axes, np.array(rows), max(values), theme, _per_cent)
            axes.set_title(drawn_name(task), loc="left", weight="bold", fontsize=11, pad=8)
            if number % columns == 0:
                cells.name_rows(axes, names, theme)
            _name_layers(axes, paths[task], theme)
            right = len(paths[task]) + 0.2
            for row, name in enumerate(names):
                n = str(seeds.get((task, name), "\N{EN DASH}"))
                axes.text(right, row + 0.52, n, fontsize=cells.SMALL, color=theme.quiet, va="center")
            axes.text(right, -0.1, "n", fontsize=cells.SMALL, color=theme.quiet, style="italic")
        span = f"{_per_cent(min(values))} to {_per_cent(max(values))}"
        return draw(figure, f"{note}: {span} over {plural(len(names), 'arm')} and {plural(len(shares), 'task')}")


def _name_layers(axes: Axes, paths: Sequence[str], theme: Theme) -> None:
    """Write the numbers of the layers, and below them their networks."""
    networks = [path.rpartition(".")[0] for path in paths]
    axes.set_xticks(
        np.arange(len(paths)) + 0.5, [drawn_name(path.rpartition("layer_")[2]) for path in paths], color=theme.ink
    )
    bottom, inches = axes.get_ylim()[0], 1 / _CELL[1]
    for network in dict.fromkeys(networks):
        first, number = networks.index(network), networks.count(network)
        y = bottom + 0.24 * inches
        axes.plot([first + 0.15, first + number - 0.15], [y, y], color=theme.quiet, linewidth=0.8, clip_on=False)
        centre, below = first + number / 2, y + 0.05 * inches
        axes.text(centre, below, drawn_name(network), color=theme.quiet, fontsize=cells.SMALL, ha="center", va="top")


def _input_cells(axes: Axes, arms: Sequence[ArmMasks], part: range, highest: float, theme: Theme) -> None:
    values = np.array([[arm.inputs[i].acting for i in part] for arm in arms])
    unread = np.array([[arm.inputs[i].ignored == len(arm.seeds) for i in part] for arm in arms])
    cells.draw_cells(axes, np.where(unread, np.nan, values), highest, theme)
    for row, arm in enumerate(arms):
        for column, index in enumerate(part):
            entry = arm.inputs[index]
            if unread[row, column]:
                cross = "\N{MULTIPLICATION SIGN}"
                axes.text(column + 0.5, row + 0.5, cross, color=theme.ink, fontsize=11, ha="center", va="center")
            elif entry.ignored:
                cells.write_in_cell(axes, row, column, str(entry.ignored), entry.acting, highest)


def _least_read(arms: Sequence[ArmMasks]) -> str:
    unread = [
        f"{arm.arm} reads {', '.join(entry.name or f'entry {entry.index}' for entry in never)} in no seed"
        for arm in arms
        if (never := [entry for entry in arm.inputs if entry.ignored == len(arm.seeds)])
    ]
    return "; ".join([*unread[:6], *(["and others"] if len(unread) > 6 else [])]) or "every arm reads every entry"


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
    for task in _tasks(masks):
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
    *,
    named: bool,
) -> None:
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
        axes.text(1.03, row, f"{like.jaccard:.2f}", fontsize=cells.SMALL, color=theme.ink, va="center")
        axes.text(1.2, row, str(like.pairs), fontsize=cells.SMALL, color=theme.quiet, va="center")
    axes.text(1.2, -1.0, "n", fontsize=cells.SMALL, color=theme.quiet, style="italic", va="center")
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(drawn_name(task), loc="left", weight="bold", fontsize=11)
    axes.set_xlabel("Jaccard index", fontsize=cells.SMALL + 1)
    labels = [drawn_name(name) if name else _HEADINGS[kind] for kind, name in rows]
    axes.set_yticks(range(len(rows)), labels if named else [""] * len(rows), fontsize=cells.SMALL, color=theme.ink)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=cells.SMALL)
    for (_, name), text in zip(rows, axes.get_yticklabels(), strict=True):
        text.set_fontweight("normal" if name else "bold")


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


def _tasks(masks: MaskAnalysis) -> list[str]:
    return list(dict.fromkeys(arm.task for arm in masks.arms))


def _ordered(arms: Iterable[ArmMasks], looks: Mapping[str, Look]) -> list[ArmMasks]:
    """In the order of the other figures; arms that have no look come last."""
    places = {arm: place for place, arm in enumerate(looks)}
    return sorted(arms, key=lambda arm: places.get(arm.arm, len(places)))


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f}" if 0 < share < 0.0995 else f"{100 * share:.0f}"
