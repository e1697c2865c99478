"""Controls: arms that should lose to a ticket if the ticket is more than its size.

A control differs from its ticket in one thing. Everything that rlottery knows about it is in its `Control` record. To
add a control, write the function that makes its mask or its weights, and a record in `CONTROLS`.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor as round_down
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.criteria import Criterion, Kernels
from rlottery.pruning.initial_weights import permute_weights
from rlottery.pruning.masks import GroupMask, by_network, check_connected, check_shapes, select, sparsity_of
from rlottery.pruning.method import Method
from rlottery.pruning.random_masks import random_erk, random_like, shuffle_all_but_first, shuffle_degrees
from rlottery.pruning.ranking import RealArray, Scores, keep_highest
from rlottery.pruning.structured import is_structured, mask_of_units, unit_scores, units_of


class Ticket(Protocol):
    """What the rules of controls read of the recipe of their ticket."""

    is_dynamic: ClassVar[bool]

    @property
    def name(self) -> str | None: ...
    @property
    def criterion(self) -> str | None: ...
    @property
    def structure(self) -> Literal["weights", "units"]: ...
    @property
    def scoring(self) -> Criterion | None: ...
    @property
    def is_one_shot(self) -> bool: ...
    @property
    def rewind_step(self) -> int | None: ...
    @property
    def layer_sparsities(self) -> Mapping[str, Sequence[float]]: ...


@dataclass(frozen=True)
class GivenMask:
    """A transferred mask as a `Ticket`: it is there before training, and nothing says how its weights were scored.

    Attributes:
        name: the arm that trains with it.
        layer_sparsities: group -> the share that is pruned of the whole group, or of each layer.
        structure, rewind_step: as in the recipe of a ticket.
    """

    name: str | None
    layer_sparsities: Mapping[str, Sequence[float]]
    structure: Literal["weights", "units"] = "weights"
    rewind_step: int | None = 0
    criterion: str | None = None
    scoring: Criterion | None = None
    is_one_shot: bool = False

    is_dynamic: ClassVar[bool] = False


def given_mask(name: str | None, groups: Mapping[str, GroupMask]) -> GivenMask:
    """A mask that was read from a file, as a `Ticket`."""
    shares: dict[str, Sequence[float]] = {}
    for group, layers in groups.items():
        networks = [[sparsity_of({path: layer}) for path, layer in of.items()] for of in by_network(layers).values()]
        shares[group] = [max(of_layer) for of_layer in zip(*networks, strict=True)]
    units = any(sparsity_of(layers) > 0 and is_structured(layers) for layers in groups.values())
    return GivenMask(name, shares, "units" if units else "weights")


ControlRule: TypeAlias = Callable[[str, Ticket], str | None]
"""(the control's name, the ticket) -> why they make no sense together."""


@dataclass(frozen=True, kw_only=True)
class Control(Method):
    """A control: how it differs from its ticket, and what planning, training and reports need to know of it.

    Attributes:
        name: as in `control: NAME`.
        changes: the one thing in which it differs from the ticket.
        takes: the keys that an arm may have besides `control` and `name`. With "of" among them, it is required.
        takes_nothing_else: why other keys make no sense.
        draw_mask: makes the mask of one group from the ticket's mask alone.
        rank_mask: makes it from the scores that the ticket's mask was selected by, and from that mask. Without either,
            the control has the ticket's own mask.
        network: "masked" is the config's network under a mask; "small" is a dense network with no more weights than
            the ticket keeps; "dense" is the config's network without a mask.
        fresh_weights: whether it starts from newly drawn weights, not from those of the dense run.
        change_weights: makes the kernels of one group that it starts from: of the initial ones, under the mask.
        is_baseline: whether verdicts compare tickets with it.
        rules: why it makes no sense with some tickets.
    """

    cost: str = "one training"
    name: str
    changes: str
    takes: tuple[str, ...] = ("of", "rescale")
    takes_nothing_else: str = "a control takes everything else from the arm it is `of`"
    draw_mask: Callable[[GroupMask, np.random.Generator], GroupMask] | None = None
    rank_mask: Callable[[Scores, GroupMask], GroupMask] | None = None
    network: Literal["masked", "small", "dense"] = "masked"
    fresh_weights: bool = False
    change_weights: Callable[[Kernels, GroupMask, np.random.Generator], Mapping[str, RealArray]] | None = None
    is_baseline: bool = False
    rules: tuple[ControlRule, ...] = ()

    @property
    def has_mask(self) -> bool:
        """Whether its networks are sparse."""
        return self.network == "masked"

    @property
    def has_own_start(self) -> bool:
        """Whether it starts from other weights, or another network, than the ticket under the same mask."""
        return not self.has_mask or self.fresh_weights or self.change_weights is not None

    def objection(self, ticket: Ticket) -> str | None:
        """Why this control makes no sense with that ticket; None if it does."""
        has_own_mask = self.draw_mask is not None or self.rank_mask is not None
        if has_own_mask and not any(itertools.chain(*ticket.layer_sparsities.values())):
            return f"{ticket.name} prunes nothing, so {self.name} would have the same mask"
        return next((problem for rule in self.rules if (problem := rule(self.name, ticket))), None)


def invert(scores: Scores, mask: GroupMask) -> GroupMask:
    """The lowest scores survive, with the ticket's exact count in each layer; whole units if the ticket prunes units.

    If this does as well as the ticket, the criterion's ranking means nothing (Zhou et al. 2019, Deconstructing Lottery
    Tickets). Among equal scores the lowest flat index survives, as in the ticket, so a layer whose scores are all equal
    keeps the ticket's mask.

    Args:
        scores: path -> (inputs, outputs), the scores that the ticket was selected by.
        mask: the ticket's mask, with the same paths and shapes.

    Raises:
        MaskError: other layers or shapes, scores that are NaN, or no path from input to output.
    """
    check_shapes(mask, scores)
    if is_structured(mask):
        units, ranks = units_of(mask), unit_scores(scores)
        lowest = {path: keep_highest(-ranks[path], int(np.count_nonzero(alive))) for path, alive in units.items()}
        inverse = mask_of_units({path: layer.shape for path, layer in mask.items()}, lowest)
    else:
        counts = {path: int(np.count_nonzero(layer)) for path, layer in mask.items()}
        inverse = select({path: -layer for path, layer in scores.items()}, counts)
    check_connected(inverse)
    return inverse


def small_widths(widths: Sequence[int], inputs: int, outputs: int, survivors: int) -> tuple[int, ...]:
    """Hidden widths of the largest dense network, in the proportions of `widths`, with at most `survivors` weights.

    Widths are floor(factor * width) but at least 1, with the largest factor up to 1 that fits. A sparse network should
    beat a small dense one (Graesser et al. 2022).

    Args:
        widths: hidden widths of the dense agent.
        inputs, outputs: of one network.
        survivors: kernel weights that the ticket keeps in one network (for twin critics, half of their group's).

    Raises:
        MaskError: even hidden layers of a single unit have more weights.
    """

    def scaled(factor: Fraction) -> tuple[int, ...]:
        return tuple(max(1, round_down(factor * width)) for width in widths)

    def weights(hidden: tuple[int, ...]) -> int:
        return sum(a * b for a, b in itertools.pairwise((inputs, *hidden, outputs)))

    # The number of weights only grows with the factor, and only where some factor * width is whole.
    steps = {Fraction(0)} | {Fraction(units, width) for width in widths for units in range(1, width + 1)}
    fitting = list(itertools.takewhile(lambda hidden: weights(hidden) <= survivors, map(scaled, sorted(steps))))
    if not fitting:
        raise MaskError(
            f"No dense network is as small as {survivors} weights: with {inputs} inputs, {outputs} outputs and 1 unit "
            f"in each of {len(widths)} hidden layers it has {weights(scaled(Fraction(0)))}. "
            "Use a lower sparsity, or leave the small dense control out."
        )
    return fitting[-1]


def _single_weights(name: str, ticket: Ticket) -> str | None:
    if ticket.structure == "units":
        return f"{name} moves single weights, and {ticket.name} prunes whole units; use random"
    return None


def _other_degrees_exist(_: str, ticket: Ticket) -> str | None:
    critic = ticket.layer_sparsities.get("critic", ())
    if any(critic) and len(critic) > 1 and not any(critic[:-1]):  # a critic has one output
        return f"{ticket.name} prunes only the critics' last layer, where one mask alone has these degrees; use random"
    return None


def _prunes_later_layers(_: str, ticket: Ticket) -> str | None:
    for group, layers in ticket.layer_sparsities.items():
        if len(layers) > 1 and layers[0] and not any(layers[1:]):
            return f"{ticket.name} prunes nothing after the {group}'s first layer, so there is nothing to shuffle"
    return None


def _has_one_score(name: str, ticket: Ticket) -> str | None:
    if not ticket.is_one_shot:
        return f"{name} needs the scores of a one-shot mask, and {ticket.name} has none"
    if ticket.scoring is not None and ticket.scoring.iterations > 1:
        return f"{ticket.criterion} scores and prunes in turn, so there is no single score to invert"
    return None


def _starts_from_initial_weights(name: str, ticket: Ticket) -> str | None:
    if ticket.is_dynamic:
        return f"{ticket.name} makes its mask while it trains, and other weights would make another mask; use random"
    if ticket.rewind_step != 0:
        return f"{name} replaces the initial weights, and {ticket.name} doesn't start from them"
    return None


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(
            name="random",
            summary="a random mask with the ticket's count in each layer",
            paper="Frankle et al. 2021, Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
            changes="which weights of each layer survive",
            use="Always: does it matter which weights survive, or only how many in each layer?",
            draw_mask=random_like,
            is_baseline=True,
        ),
        Control(
            name="random-erk",
            summary="a random mask with the ticket's total count, distributed by Erdos-Renyi-Kernel",
            paper="Evci et al. 2020, Rigging the Lottery; "
            "Graesser et al. 2022, The State of Sparse Training in Deep RL",
            changes="which weights of the group survive, and how many in each layer",
            use="Does the ticket beat a good random mask, which needs no trained agent?",
            draw_mask=random_erk,
            rules=(_single_weights,),
        ),
        Control(
            name="shuffled",
            summary="a random mask with the ticket's number of survivors at each input and each unit",
            paper="Strona et al. 2014, A fast and unbiased procedure to randomize ecological binary matrices",
            changes="which inputs connect to which units, at the same degrees",
            use="If random loses: is the ticket more than the inputs and units that it favours?",
            draw_mask=shuffle_degrees,
            rules=(_other_degrees_exist, _single_weights),
        ),
        Control(
            name="first-layer",
            summary="the ticket's first layer, and random masks with the ticket's counts in the later layers",
            paper="Vischer et al. 2022, On Lottery Tickets and Minimal Task Representations in Deep RL",
            changes="which weights survive after the first layer",
            use="If random loses: is the ticket more than its choice of inputs?",
            draw_mask=shuffle_all_but_first,
            rules=(_prunes_later_layers, _single_weights),
        ),
        Control(
            name="inverted",
            summary="the lowest scores survive, with the ticket's count in each layer",
            paper="Zhou et al. 2019, Deconstructing Lottery Tickets",
            changes="the direction of the ranking",
            use="Does the criterion's ranking mean anything? This arm should lose to random too.",
            rank_mask=invert,
            rules=(_has_one_score,),
        ),
        Control(
            name="permuted-weights",
            summary="the ticket's mask, with its initial weights permuted within each layer",
            paper="Vischer et al. 2022, On Lottery Tickets and Minimal Task Representations in Deep RL",
            changes="which surviving position has which initial weight",
            use="Is it the mask or the initial weights? Keeps the distribution of the weights exactly.",
            change_weights=permute_weights,
            rules=(_starts_from_initial_weights,),
        ),
        Control(
            name="fresh-weights",
            summary="the ticket's mask, with newly drawn initial weights",
            paper="Frankle and Carbin 2019, The Lottery Ticket Hypothesis",
            changes="the initial weights",
            use="Is it the mask or the initial weights? The question of the lottery ticket hypothesis.",
            fresh_weights=True,
            rules=(_starts_from_initial_weights,),
        ),
        Control(
            name="small-dense",
            summary="a dense network with no more weights than the ticket, in the dense agent's proportions",
            paper="Graesser et al. 2022, The State of Sparse Training in Deep RL",
            changes="narrow layers in place of sparse ones",
            use="Is sparsity worth it, or is a smaller agent as good?",
            takes=("of",),
            takes_nothing_else="small-dense has no mask, and takes everything from the arm it is `of`",
            network="small",
            fresh_weights=True,
        ),
        Control(
            name="dense-again",
            summary="the dense agent, trained again from the same initial weights with other random numbers",
            paper="Henderson et al. 2018, Deep Reinforcement Learning that Matters",
            changes="nothing is pruned",
            use="Is the ticket's gain over the dense agent more than the luck of a second training?",
            takes=(),
            takes_nothing_else="dense-again is the dense agent with other data",
            network="dense",
        ),
    )
}
"""Name -> control, in the order of the documentation."""
