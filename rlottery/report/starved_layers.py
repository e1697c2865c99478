"""Starved layers in words: what their masks keep of them, and the setting that avoids it."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rlottery.analysis.kinds import kind_of
from rlottery.analysis.mask_analysis import ArmMasks
from rlottery.analysis.runs import Run, schedule_of
from rlottery.analysis.starved_layers import Span, StarvedLayers
from rlottery.config.schedules import DROP_AND_GROW
from rlottery.report.contents import Contents
from rlottery.report.wording import few, grouped, plural

_MOST = 6
"""How many sentences about starved layers a page has. Those with the smallest shares come first."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_N = TypeVar("_N", int, float)
_Found = tuple[ArmMasks, StarvedLayers]


def starved_lines(contents: Contents) -> Iterator[str]:
    """A sentence for each starved layer of each arm over its tasks; arms with the same counts, as tickets and their
    controls, in one. Then the setting that avoids it, if these masks come from one ranking over a whole network.
    """
    every = _found(contents)
    of_arm = grouped(every, lambda item: (_where(item[1]), item[0].arm))
    same = grouped(of_arm.values(), lambda of: (_where(of[0][1]), *((arm.task, layer.kept) for arm, layer in of)))
    sentences = sorted(
        (min(layer.share[0] for of in group for _, layer in of), _sentence(group)) for group in same.values()
    )
    yield from (sentence for _, sentence in sentences[:_MOST])
    if (more := len(sentences) - _MOST) > 0:
        yield f"{plural(more, 'more layer')} {'is' if more == 1 else 'are'} starved (tables/mask_layers.csv)."
    if setting := _setting(contents, every):
        yield f"One ranking over each whole network leaves layers so little. To avoid it, set {setting}."


def starved_limits(contents: Contents) -> Iterator[str]:
    """What limits the verdicts on tickets with a starved layer that are not shown to match dense: a line per layer."""
    match = {
        (arm.task, arm.arm)
        for task in contents.verdicts.tasks
        for arm in task.arms
        if arm.dense.answer in ("superior", "non-inferior", "equivalent")
    }
    every = [
        (arm, layer)
        for arm, layer in _found(contents)
        if kind_of(_run(contents, arm)) == "ticket" and (arm.task, arm.arm) not in match
    ]
    for of in grouped(every, lambda item: _where(item[1])).values():
        layers, setting = [layer for _, layer in of], _setting(contents, of)
        yield (
            f"On {few(arm.task for arm, _ in of)}, the masks of {few(arm.arm for arm, _ in of)} keep only "
            f"{_percent([layer.share for layer in layers])} of the weights of {_where(layers[0])}, and may fail for "
            f"that alone.{f' To avoid it, set {setting}.' if setting else ''}"
        )


def _sentence(group: Sequence[Sequence[_Found]]) -> str:
    """One layer of arms whose masks keep as many weights of it, on the same tasks."""
    every = [item for of in group for item in of]
    layers, arms = [layer for _, layer in every], list(dict.fromkeys(arm.arm for arm, _ in every))
    first, sizes = layers[0], {layer.size for layer in layers}
    often = ""
    if any(layer.starved < layer.networks for layer in layers):
        often = f" in {first.starved} of {first.networks} networks" if len(every) == 1 else " in some networks"
    numbers = f" ({_numbers([layer.kept for layer in layers])} of {first.size:,})" if len(sizes) == 1 else ""
    return (
        f"Starved layer on {few(arm.task for arm, _ in every)}: {few(arms)} {'keep' if len(arms) > 1 else 'keeps'} "
        f"{_percent([layer.share for layer in layers])} of the weights of {_where(first)}{often}{numbers}, where the "
        f"whole network keeps {_percent([layer.of_network for layer in layers])}. Of {first.units} hidden units next "
        f"to it, {_numbers([layer.in_use for layer in layers])} are in use."
    )


def _found(contents: Contents) -> list[_Found]:
    return [(arm, layer) for arm in contents.masks.arms for layer in arm.starved]


def _where(layer: StarvedLayers) -> str:
    """``the critics' first layer``, ``the actor's last layer``."""
    whose = f"{layer.group}s'" if layer.twins > 1 else f"{layer.group}'s"
    if layer.place == layer.layers - 1:
        return f"the {whose} last layer"
    return f"the {whose} {_ORDINALS[layer.place] if layer.place < len(_ORDINALS) else f'{layer.place + 1}th'} layer"


def _setting(contents: Contents, found: Sequence[_Found]) -> str | None:
    """The setting that avoids it; None if none of the masks comes from one ranking over its networks."""
    ranked = [layer for arm, layer in found if _ranks_globally(_run(contents, arm))]
    if not ranked:
        return None
    if not contents.lists_arms:
        return "pruning.allocation: erk, or uniform"
    most = max(layer.units for layer in ranked)
    return (
        f"allocation: erk or uniform in the entries of these arms, or a minimum for every layer, such as floor: {most}"
    )


def _run(contents: Contents, arm: ArmMasks) -> Run:
    return next(task for task in contents.scores if task.task == arm.task).representative(arm.arm)


def _ranks_globally(run: Run) -> bool:
    """Whether one ranking of a network's weights made the arm's mask, or that of the ticket it is a control of."""
    of = run.recipe.get("of")
    recipe = of if isinstance(of, dict) else run.recipe
    made = recipe.get("allocation", "erk" if schedule_of(run) in DROP_AND_GROW else "global")
    given = "transfer" in run.recipe or "transfer" in recipe
    others = given or "structure" in recipe or run.recipe.get("control") == "random-erk"
    return made == "global" and not others


def _percent(spans: Sequence[Span[float]]) -> str:
    low, high = (f"{100 * share:.2g}" for share in _joint(spans))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _numbers(spans: Sequence[Span[int]]) -> str:
    low, high = _joint(spans)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _joint(spans: Sequence[Span[_N]]) -> Span[_N]:
    return min(low for low, _ in spans), max(high for _, high in spans)
