"""Figures of masks: what remains in every layer, idle units, which inputs are read, and how much masks overlap."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from rlottery.analysis.mask_analysis import ArmMasks, LayerSurvivors, MaskAnalysis
from rlottery.report import cells
from rlottery.report.arm_styles import Look
from rlottery.report.drawn import Drawn, Theme, themed
from rlottery.report.figure_data import Block
from rlottery.report.labels import broken, drawn_name
from rlottery.report.sheets import LINE, TITLE, WIDTH, Around, sheet, title_lines
from rlottery.report.wording import plural

_CELL = (0.32, 0.24)
_INPUT_CELL = (0.25, 0.22)
_IN_A_ROW = 3
_MOST_NAME, _MOST_ROW = 1.05, 1.6
"""Inches of a line of an arm's name, and of one with its number of seeds."""
_N = 0.34
"""Inches for the numbers of seeds next to rows."""


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
    """Share of each observation entry's weights that remain in the network that acts, by arm. None without masks."""
    arms = _ordered([arm for arm in masks.arms if arm.task == task], looks)
    if not arms:
        return None
    shown = [f"{entry.index}  {entry.name}" if entry.name else str(entry.index) for entry in arms[0].inputs]
    rows = [f"{arm.arm}  (n = {len(arm.seeds)})" for arm in arms]
    highest = max(entry.acting for arm in arms for entry in arm.inputs)
    left = cells.name_width(rows, _MOST_ROW) + 0.05
    fit = int((WIDTH - left - 0.15) / _INPUT_CELL[0])
    in_one = -(-len(shown) // -(-len(shown) // fit))  # as few parts as possible, about equally long
    parts = [range(at, min(at + in_one, len(shown))) for at in range(0, len(shown), in_one)]
    size = (_INPUT_CELL[0] * len(parts[0]), cells.row_height(rows, _MOST_ROW, _INPUT_CELL[1]) * len(arms))
    around = Around(left, max(WIDTH - left - size[0], 0.15), cells.name_width(shown) + 0.05, 0.5)
    notes = [
        f"{task}: share of each observation entry's weights in the {arms[0].acting}'s first layer that remain; means "
        "over n seeds.",
        "\N{MULTIPLICATION SIGN}: read in no seed. Number: seeds in which it is not read.",
    ]
    titles = [f"{task}, entries {part[0]} to {part[-1]}" for part in parts]
    alt = f"Weights of the {arms[0].acting} that remain by observation entry on {task}: {_least_read(arms)}"
    with themed(theme):
        made = sheet(titles, size, around, theme, notes=notes, in_a_row=_IN_A_ROW)
        for number, (axes, part) in enumerate(zip(made.axes, parts, strict=True)):
            box = axes.get_position()
            inch = box.height / size[1]
            place = (box.x0, box.y1 + 0.3 * inch, box.width * 1.5 / size[0], 0.1 * inch)
            scale = made.figure.add_axes(place)
            scale.set_gid(f"panel-{number}-key")
            cells.colour_key(scale, highest)
            if len(part) < len(parts[0]):
                axes.set_position((box.x0, box.y0, box.width * len(part) / len(parts[0]), box.height))
            _input_cells(axes, arms, part, highest, theme)
            cells.name_rows(axes, rows, theme, _MOST_ROW)
            cells.name_columns(axes, [shown[i] for i in part], theme)
        blocks = [
            _input_block(task, arm, row, number, part)
            for number, part in enumerate(parts)
            for row, arm in enumerate(arms)
        ]
        return made.draw(alt, blocks)


def _input_block(task: str, arm: ArmMasks, row: int, number: int, part: range) -> Block:
    entries = [arm.inputs[index] for index in part]
    each = {
        "entry": tuple(part),
        "name": tuple(entry.name for entry in entries),
        "share": tuple(entry.acting for entry in entries),
        "not_read": tuple(entry.ignored for entry in entries),
    }
    words = (
        "{arm}, entry {entry} {name}: {share:%} of its weights in the "
        + arm.acting
        + " remain, mean of n = {n} seeds; not read in {not_read} of them"
    )
    same = {"task": task, "arm": arm.arm, "n": len(arm.seeds)}
    return Block((number,), same, each, tuple(at + 0.5 for at in range(len(part))), row + 0.5, words)


def _layer_cells(
    masks: MaskAnalysis,
    looks: Mapping[str, Look],
    theme: Theme,
    note: str,
    share: Callable[[LayerSurvivors], float | None],
) -> Drawn | None:
    """A panel per task, with a row for each arm and a column for each layer that has a share; more for many layers."""
    names = list(dict.fromkeys(arm.arm for arm in _ordered(masks.arms, looks)))
    shares: dict[str, dict[str, dict[str, float]]] = {task: {} for task in masks.tasks}
    for arm in masks.arms:
        shares[arm.task][arm.arm] = {la.path: of for la in arm.layers if (of := share(la)) is not None}
    values = [of for by_arm in shares.values() for by_path in by_arm.values() for of in by_path.values()]
    if not values:
        return None
    seeds = {(arm.task, arm.arm): len(arm.seeds) for arm in masks.arms}
    left = cells.name_width(names, _MOST_NAME)
    most = int((WIDTH - left - _N) / _CELL[0] + 1e-9)
    parts = [
        (task, part) for task, by_arm in shares.items() for part in _parts(list(next(iter(by_arm.values()))), most)
    ]
    columns = max(len(part) for _, part in parts)
    size = (_CELL[0] * columns, cells.row_height(names, _MOST_NAME, _CELL[1]) * len(names))
    networks = {path.rpartition(".")[0] for _, part in parts for path in part}
    lines = max(len(_network_lines(network, 1)) for network in networks)
    titles = [title_lines(task) for task, _ in parts]
    around = Around(left, max(WIDTH - left - size[0], _N), 0.32 + LINE * lines, 0.3 + LINE * max(map(len, titles)))
    with themed(theme):
        notes = [f"{note}; means over n seeds."]
        made = sheet([task for task, _ in parts], size, around, theme, notes=notes, in_a_row=_IN_A_ROW)
        blocks = []
        for number, ((task, part), axes, title) in enumerate(zip(parts, made.axes, titles, strict=True)):
            box = axes.get_position()
            axes.set_position((box.x0, box.y0, box.width * len(part) / columns, box.height))
            rows = [[shares[task].get(name, {}).get(path, np.nan) for path in part] for name in names]
            cells.draw_cells(axes, np.array(rows), max(values), theme, _per_cent)
            # Above the names of the rows, where there is room for a long one.
            x = -left / (_CELL[0] * len(part))
            axes.set_title("\n".join(title), loc="left", weight="bold", fontsize=TITLE, pad=13, x=x)
            cells.name_rows(axes, names, theme, _MOST_NAME)
            _name_layers(axes, part, theme, size[1] / len(names))
            right = len(part) + 0.2
            for row, name in enumerate(names):
                n = str(seeds.get((task, name), "\N{EN DASH}"))
                axes.text(right, row + 0.52, n, fontsize=cells.SMALL, color=theme.quiet, va="center")
                if (task, name) in seeds:
                    same = {"task": task, "arm": name, "n": seeds[task, name]}
                    each = {"layer": tuple(part), "share": tuple(map(float, rows[row]))}
                    words = "{arm}, {layer}: {share:%}, mean of n = {n} seeds"
                    where = tuple(at + 0.5 for at in range(len(part)))
                    blocks.append(Block((number,), same, each, where, row + 0.5, words))
            axes.text(right, -0.1, "n", fontsize=cells.SMALL, color=theme.quiet, style="italic")
        span = f"{_per_cent(min(values))} to {_per_cent(max(values))}"
        alt = f"{note}: {span} over {plural(len(names), 'arm')} and {plural(len(shares), 'task')}"
        return made.draw(alt, blocks)


def _parts(paths: Sequence[str], most: int) -> list[list[str]]:
    """Layers in groups of at most this number, where networks stay whole if they can."""
    parts: list[list[str]] = [[]]
    for network in dict.fromkeys(path.rpartition(".")[0] for path in paths):
        layers = [path for path in paths if path.rpartition(".")[0] == network]
        for piece in (layers[at : at + most] for at in range(0, len(layers), most)):
            if parts[-1] and len(parts[-1]) + len(piece) > most:
                parts.append([])
            parts[-1] += piece
    return parts


def _network_lines(network: str, layers: int) -> list[str]:
    return broken(drawn_name(network), max(_CELL[0] * layers, 0.62), cells.SMALL)


def _name_layers(axes: Axes, paths: Sequence[str], theme: Theme, row: float) -> None:
    """Write the numbers of the layers, and below them their networks. `row` is the height of a row in inches."""
    networks = [path.rpartition(".")[0] for path in paths]
    axes.set_xticks(
        np.arange(len(paths)) + 0.5, [drawn_name(path.rpartition("layer_")[2]) for path in paths], color=theme.ink
    )
    bottom, inches = axes.get_ylim()[0], 1 / row
    for network in dict.fromkeys(networks):
        first, number = networks.index(network), networks.count(network)
        y = bottom + 0.24 * inches
        axes.plot([first + 0.15, first + number - 0.15], [y, y], color=theme.quiet, linewidth=0.8, clip_on=False)
        text, below = "\n".join(_network_lines(network, number)), y + 0.05 * inches
        axes.text(first + number / 2, below, text, color=theme.quiet, fontsize=cells.SMALL, ha="center", va="top")


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


def _ordered(arms: Iterable[ArmMasks], looks: Mapping[str, Look]) -> list[ArmMasks]:
    """In the order of the other figures; arms that have no look come last."""
    places = {arm: place for place, arm in enumerate(looks)}
    return sorted(arms, key=lambda arm: places.get(arm.arm, len(places)))


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f}" if 0 < share < 0.0995 else f"{100 * share:.0f}"
