"""The tables of masks: what layers and observation entries keep, and what masks share."""

from collections.abc import Mapping

from rlottery.report.contents import Contents
from rlottery.report.families import Look
from rlottery.report.result_tables import sparsity_cell
from rlottery.report.tables import NOTHING, Cell, Column, Row, Table, number_cell, text_cell


def layer_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """What each layer of each arm's masks keeps."""
    rows = []
    for arm in contents.masks.arms:
        for layer in arm.layers:
            kept = layer.kept / layer.total if layer.total else 0.0
            rows.append(
                Row(
                    (
                        text_cell("arm", arm.arm),
                        text_cell("task", arm.task),
                        sparsity_cell(looks.get(arm.arm)),
                        text_cell("layer", layer.path),
                        number_cell("kept", layer.kept, ",.0f"),
                        number_cell("weights", layer.total, ",d"),
                        _per_cent("share_kept", kept),
                        number_cell("dead", layer.dead, ".1f"),
                        number_cell("without_input", layer.without_input, ".1f"),
                        number_cell("units", layer.units, "d"),
                        number_cell("masks", len(arm.seeds), "d"),
                    ),
                    {"task": arm.task, "sparsity": sparsity_cell(looks.get(arm.arm)).text},
                )
            )
    caption = (
        "Survivors of every layer, mean over the masks. Dead units have no way to the output; units without an input "
        "are constant."
    )
    titles = (
        Column("Arm"),
        Column("Task"),
        Column("Sparsity", True),
        Column("Layer"),
        Column("Kept", True),
        Column("Weights", True),
        Column("Share", True),
        Column("Dead units", True),
        Column("Without input", True),
        Column("Units", True),
        Column("Masks", True),
    )
    return Table("mask_layers", caption, titles, tuple(rows))


def inputs_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """What each arm's masks keep of each observation entry, and the entry's saliency."""
    rows = [
        Row(
            (
                text_cell("arm", arm.arm),
                text_cell("task", arm.task),
                sparsity_cell(looks.get(arm.arm)),
                number_cell("index", entry.index, "d"),
                text_cell("name", entry.name or ""),
                _per_cent("actor", entry.actor),
                _per_cent("critic", entry.critic),
                _per_cent("saliency", entry.saliency),
                number_cell("ignored", entry.ignored, "d"),
                number_cell("masks", len(arm.seeds), "d"),
            )
        )
        for arm in contents.masks.arms
        for entry in arm.inputs
    ]
    caption = (
        "Observation entries, means over the masks. Actor, critic: share of the entry's weights in the first layer "
        "that survive, of the two critics the mean. Saliency: share of the total absolute weight in the first layer "
        "of the trained dense actor that the entry's survivors hold. Ignored: masks in which no weight of the actor "
        "reads the entry."
    )
    titles = (
        Column("Arm"),
        Column("Task"),
        Column("Sparsity", True),
        Column("Entry", True),
        Column("Name"),
        Column("Actor", True),
        Column("Critic", True),
        Column("Saliency", True),
        Column("Ignored", True),
        Column("Masks", True),
    )
    return Table("mask_inputs", caption, titles, tuple(rows))


def likeness_table(contents: Contents) -> Table:
    """How much masks share."""
    rows = tuple(
        Row(
            (
                text_cell("kind", like.kind),
                text_cell("task", like.task or ""),
                text_cell("one", like.one),
                text_cell("other", like.other),
                number_cell("jaccard", like.jaccard, ".2f"),
                number_cell("chance", like.chance, ".2f"),
                number_cell("pairs", like.pairs, "d"),
            )
        )
        for like in contents.masks.likeness
    )
    caption = "How much masks share: mean Jaccard index of all kernel weights, and what chance would give."
    titles = (
        Column("What differs"),
        Column("Task"),
        Column("One"),
        Column("Other"),
        Column("Jaccard", True),
        Column("Chance", True),
        Column("Pairs", True),
    )
    return Table("mask_likeness", caption, titles, rows)


def _per_cent(name: str, share: float | None) -> Cell:
    return Cell(NOTHING if share is None else f"{100 * share:.2f} %", {name: share})
