"""What masks really keep of each network: a table, and sentences where a mask is sparser than its count says."""

from collections.abc import Mapping

from rlottery.analysis.mask_analysis import ArmMasks, LayerSurvivors, MaskAnalysis, NetworkSurvivors
from rlottery.pruning.starved import NARROW
from rlottery.pruning.untaught import untaught_in_words
from rlottery.report.arm_styles import Look
from rlottery.report.contents import Contents
from rlottery.report.tables import Column, Table, make_table, number, percent, text
from rlottery.report.verdict_tables import sparsity_cell
from rlottery.report.wording import named

MANY_IDLE = 0.1
"""A network with a larger share of its survivors on no path is named."""

Row = tuple[ArmMasks, NetworkSurvivors]


def network_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """What the masks of every arm keep of each network, and how much of it is on a path."""
    columns: tuple[Column[Row], ...] = (
        text("Arm", "arm", lambda row: row[0].arm),
        text("Task", "task", lambda row: row[0].task),
        Column("Sparsity", lambda row: sparsity_cell(looks.get(row[0].arm)), numeric=True),
        text("Network", "network", lambda row: row[1].path),
        number("Kept", "kept", lambda row: row[1].kept, ",.0f"),
        number("On a path", "useful", lambda row: row[1].useful, ",.0f"),
        percent("Idle", "idle", lambda row: row[1].idle, 1),
        percent("Effective sparsity", "effective_sparsity", lambda row: row[1].effective_sparsity),
        number("Units in use", "in_use", lambda row: row[1].in_use, ",.1f"),
        number("Units", "units", lambda row: row[1].units),
        percent("Rank one", "rank_one", lambda row: row[1].rank_one, 1),
        number("Masks", "masks", lambda row: len(row[0].seeds)),
    )
    caption = (
        "What masks really keep, means over them. On a path: remaining weights on a path from an input to an output; "
        "the others are idle. Effective sparsity: share of all weights that are on no path. Rank one: share of the "
        "squared scores that one number per input and one per output of a layer explain, mean over layers, weighted "
        "by size; near 100 %, the criterion prunes units."
    )
    rows = ((arm, network) for arm in contents.masks.arms for network in arm.networks)
    return make_table("mask_networks", caption, columns, rows)


def mask_lines(masks: MaskAnalysis) -> list[str]:
    """Sentences about actors that can't learn, narrow layers, idle survivors and shared budgets; none where there is
    nothing to say.

    Networks that are narrow because a layer is starved have sentences of their own (`report.starved_layers`).
    """
    lines = []
    if untaught := [f"{_where(arm)} ({len(arm.untaught)} of {len(arm.seeds)})" for arm in masks.arms if arm.untaught]:
        lines.append(f"In some masks {untaught_in_words(masks.teachers, masks.acting)}: {named(untaught)}.")
    if narrow := sorted(
        (layer.in_use / layer.units, f"{_where(arm)} ({layer.path}: {_in_use(layer)})")
        for arm in masks.arms
        for layer in arm.layers
        if layer.in_use < NARROW * layer.units and not _has_starved(arm, layer)
    ):
        about = f"Narrow layers, with fewer than {100 * NARROW:.0f} % of their units on a path from input to output"
        lines.append(f"{about}: {named([entry for _, entry in narrow])}.")
    if idle := sorted(
        (-network.idle, f"{100 * network.idle:.0f} % in {network.path} of {_where(arm)}")
        for arm in masks.arms
        for network in arm.networks
        if network.idle > MANY_IDLE
    ):
        listed = named([entry for _, entry in idle])
        lines.append(f"Many remaining weights are idle, on no path from an input to an output: {listed}.")
    if shared := list(dict.fromkeys(arm.arm for arm in masks.arms if arm.shares_budget)):
        lines.append(
            f"In the masks of {named(shared)}, the critics share one budget, as in earlier versions of rlottery: one "
            "may keep more weights than the other."
        )
    return lines


def _where(arm: ArmMasks) -> str:
    return f"{arm.arm} on {arm.task}"


def _in_use(layer: LayerSurvivors) -> str:
    return f"{layer.in_use:.0f} of {layer.units}"


def _has_starved(arm: ArmMasks, layer: LayerSurvivors) -> bool:
    """Whether a layer of the same networks is starved."""
    return any(starved.group == layer.path.partition(".")[0] for starved in arm.starved)
