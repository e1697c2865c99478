"""The tables of masks: what layers and observation entries keep, and how much masks overlap."""

from collections.abc import Mapping

from rlottery.analysis.mask_analysis import ArmMasks, InputShare, LayerSurvivors, MaskAnalysis, MaskOverlap
from rlottery.analysis.mask_overlap import PARTNERS
from rlottery.report.arm_styles import Look
from rlottery.report.contents import Contents
from rlottery.report.tables import Column, Table, make_table, number, percent, text
from rlottery.report.verdict_tables import sparsity_cell

Layer = tuple[ArmMasks, LayerSurvivors]
Entry = tuple[ArmMasks, InputShare]


def layer_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """What remains of each layer, for every arm."""
    columns: tuple[Column[Layer], ...] = (
        text("Arm", "arm", lambda row: row[0].arm),
        text("Task", "task", lambda row: row[0].task),
        Column("Sparsity", lambda row: sparsity_cell(looks.get(row[0].arm)), numeric=True),
        text("Layer", "layer", lambda row: row[1].path),
        number("Kept", "kept", lambda row: row[1].kept, ",.0f"),
        number("Weights", "weights", lambda row: row[1].total, ",d"),
        number("On a path", "useful", lambda row: row[1].useful, ",.0f"),
        percent("Share", "share_kept", lambda row: row[1].kept / row[1].total if row[1].total else 0.0),
        number("Dead units", "dead", lambda row: row[1].dead, ".1f"),
        number("Without input", "without_input", lambda row: row[1].without_input, ".1f"),
        number("Units", "units", lambda row: row[1].units),
        percent("Rank one", "rank_one", lambda row: row[1].rank_one),
        number("Masks", "masks", lambda row: len(row[0].seeds)),
    )
    caption = (
        "Weights that remain in every layer, mean over the masks, and those of them on a path from an input to an "
        "output. Dead units have no path to an output. Units without input are constant. Rank one: share of the "
        "squared scores that one number per input and one per output explain."
    )
    return make_table(
        "mask_layers",
        caption,
        columns,
        ((arm, layer) for arm in contents.masks.arms for layer in arm.layers),
        tags=lambda row: {"task": row[0].task, "sparsity": sparsity_cell(looks.get(row[0].arm)).text},
    )


def inputs_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """What remains of each observation entry, and its saliency, for every arm."""
    groups = dict.fromkeys(group for arm in contents.masks.arms for entry in arm.inputs for group in entry.kept)

    def kept(group: str) -> Column[Entry]:
        return percent(group.capitalize(), group, lambda row: row[1].kept.get(group))

    columns: tuple[Column[Entry], ...] = (
        text("Arm", "arm", lambda row: row[0].arm),
        text("Task", "task", lambda row: row[0].task),
        Column("Sparsity", lambda row: sparsity_cell(looks.get(row[0].arm)), numeric=True),
        number("Entry", "index", lambda row: row[1].index),
        text("Name", "name", lambda row: row[1].name),
        *map(kept, groups),
        percent("Saliency", "saliency", lambda row: row[1].saliency),
        number("Ignored", "ignored", lambda row: row[1].ignored),
        number("Masks", "masks", lambda row: len(row[0].seeds)),
    )
    caption = (
        "Observation entries, means over the masks: for each group of networks, the share of the entry's weights in "
        "the first layer that remain, mean over its networks. Saliency: share of the total absolute weight in the "
        "first layer of the trained dense agent's acting network that the entry's remaining weights hold. Ignored: "
        "masks in which no weight of the acting network reads the entry."
    )
    return make_table(
        "mask_inputs", caption, columns, ((arm, entry) for arm in contents.masks.arms for entry in arm.inputs)
    )


def overlap_table(contents: Contents) -> Table:
    """How much masks overlap."""
    columns: tuple[Column[MaskOverlap], ...] = (
        text("What differs", "kind", lambda row: row.kind),
        text("Task", "task", lambda row: row.task),
        text("One", "one", lambda row: row.one),
        text("Other", "other", lambda row: row.other),
        number("Jaccard index", "jaccard", lambda row: row.jaccard, ".2f"),
        number("Random masks", "chance", lambda row: row.chance, ".2f"),
        number("Pairs", "pairs", lambda row: row.pairs),
    )
    caption = (
        "Mask overlap: mean Jaccard index of all kernel weights over pairs of masks, and that of random masks with the "
        f"same counts in every layer.{partners_sentence(contents.masks)}"
    )
    return make_table("mask_overlap", caption, columns, contents.masks.overlaps)


def partners_sentence(masks: MaskAnalysis) -> str:
    """Which pairs of seeds are compared, after a space; empty where it is all of them."""
    most = 2 * PARTNERS + 1
    if all(len(arm.seeds) <= most for arm in masks.arms):
        return ""
    return f" Of more than {most} seeds, each is compared with the {PARTNERS} that follow it."
