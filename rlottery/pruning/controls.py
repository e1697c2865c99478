"""Controls: what should lose to the ticket if the ticket is more than its size.

Each differs from the ticket in one thing (`CONTROLS`). The functions take one group, actor or critic, and draw from the
generator that they are given.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor as round_down
from typing import TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.allocation import allocate_erk, by_network
from rlottery.pruning.criteria import Kernels
from rlottery.pruning.masks import DRAWS, GroupMask, check_connected, check_shapes, first_connected, select, sparsity_of
from rlottery.pruning.method import Method
from rlottery.pruning.ranking import BoolArray, FloatArray, Scores, keep_highest
from rlottery.pruning.structured import is_structured, mask_of_units, unit_scores, units_of

MaskControl: TypeAlias = Callable[[GroupMask, np.random.Generator], GroupMask]
"""(the ticket's mask of one group, generator) -> the control's mask."""

SHUFFLE_ROUNDS = 32
"""In each round a row trades with one other, which takes over each of its differing survivors about every second time.
A survivor can reach any of 256 rows in 8 rounds; 32 are four times that, and cheap."""


def random_like(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """Random positions, the ticket's exact count in each layer; of a ticket of whole units, random units.

    Frankle et al. 2021, Pruning Neural Networks at Initialization: what beats this knows more than layer-wise counts.

    Raises:
        MaskError: no draw joins input to output.
    """
    return _connected(lambda: _shuffled(mask, generator))


def random_erk(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """Random positions, the ticket's count in the group, spread over layers by `allocate_erk`.

    Evci et al. 2020, RigL; Graesser et al. 2022, in whose agents it beats uniform layers.

    Raises:
        MaskError: fewer survivors than layers, or no draw joins input to output.
    """
    counts = allocate_erk({path: layer.shape for path, layer in mask.items()}, sparsity_of(mask))

    def draw() -> GroupMask:
        return {
            path: generator.permutation(np.arange(layer.size) < counts[path]).reshape(layer.shape)
            for path, layer in mask.items()
        }

    return _connected(draw)


def shuffle_degrees(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """A random mask in which each input and each unit has as many survivors as in the ticket, in every layer.

    What is left of a ticket that beats it is who is joined to whom: which inputs it favours, as Vischer et al. 2022
    saw tickets do, is the same in both. Curveball trades (Strona et al. 2014) sample all such masks alike; rows trade
    in random pairs, all at once (global trades, Carstens et al. 2018), `SHUFFLE_ROUNDS` rounds of rows/2 trades,
    along the shorter side of the layer.

    Raises:
        MaskError: the ticket's is the only mask with its degrees (as of whole units), or no draw joins input to output.
    """
    return _connected(lambda: {path: _curveball(layer, generator) for path, layer in mask.items()}, other_than=mask)


def shuffle_all_but_first(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """The ticket's first layer in every network, all later layers as in `random_like`.

    Vischer et al. 2022: a ticket's mask of the inputs may be all that it has to offer.

    Raises:
        MaskError: the ticket has nothing to shuffle after its first layers, or no draw joins input to output.
    """
    first = [next(iter(layers)) for layers in by_network(mask).values()]
    return _connected(lambda: _shuffled(mask, generator, kept=first), other_than=mask)


def invert(scores: Scores, mask: GroupMask) -> GroupMask:
    """The lowest scores, the ticket's exact count in each layer; of a ticket of whole units, the lowest units.

    Zhou et al. 2019, Deconstructing Lottery Tickets: if this does as well, the criterion says nothing. Among equal
    scores the lowest flat index survives, as in the ticket, so layers whose scores are all equal keep the ticket's.

    Args:
        scores: path -> (inputs, outputs), those that the ticket was selected by.
        mask: the ticket's, same paths and shapes.

    Raises:
        MaskError: other layers or shapes, scores that are NaN, or input doesn't reach output.
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


def permute_weights(kernels: Kernels, mask: GroupMask, generator: np.random.Generator) -> dict[str, FloatArray]:
    """Each layer's surviving weights, permuted among the surviving positions; the pruned ones stay as they are.

    The same mask and the same values at other positions (Vischer et al. 2022, mask/permuted weights; a milder version
    of the random reinitialisation of Frankle and Carbin 2019).

    Raises:
        MaskError: other layers or shapes.
    """
    check_shapes(mask, kernels)
    permuted = {}
    for path, alive in mask.items():
        permuted[path] = kernels[path].copy()
        permuted[path][alive] = generator.permutation(kernels[path][alive])
    return permuted


def rescale(kernels: Kernels, mask: GroupMask) -> dict[str, FloatArray]:
    """Surviving weights times sqrt(inputs / survivors) of their unit; the pruned ones stay as they are.

    A unit that keeps k of n independent weights has k/n of the variance in its pre-activation; this gives it back (He
    et al. 2015 with the fan-in that is left; Evci et al. 2022, Gradient Flow in Sparse Neural Networks, section 3).
    Units without survivors have nothing to scale.

    Raises:
        MaskError: other layers or shapes.
    """
    check_shapes(mask, kernels)
    rescaled = {}
    for path, alive in mask.items():
        factor = np.sqrt(alive.shape[0] / np.maximum(alive.sum(axis=0), 1)).astype(kernels[path].dtype)
        rescaled[path] = np.where(alive, kernels[path] * factor, kernels[path])
    return rescaled


def small_widths(widths: Sequence[int], inputs: int, outputs: int, survivors: int) -> tuple[int, ...]:
    """Hidden widths of the largest dense network, in the proportions of `widths`, with at most `survivors` weights.

    Widths are floor(factor * width) but at least 1, with the largest factor up to 1 that fits. (Graesser et al. 2022:
    a small dense network is what a sparse one has to beat.)

    Args:
        widths: hidden widths of the dense agent.
        inputs, outputs: of one network.
        survivors: kernel weights that the ticket keeps in one network (of twin critics: half of its group's).

    Raises:
        MaskError: hidden layers of a single unit have more weights.
    """

    def scaled(factor: Fraction) -> tuple[int, ...]:
        return tuple(max(1, round_down(factor * width)) for width in widths)

    def weights(hidden: tuple[int, ...]) -> int:
        return sum(a * b for a, b in itertools.pairwise((inputs, *hidden, outputs)))

    # The weights only grow with the factor, and only where some factor * width is whole.
    steps = {Fraction(0)} | {Fraction(units, width) for width in widths for units in range(1, width + 1)}
    fitting = list(itertools.takewhile(lambda hidden: weights(hidden) <= survivors, map(scaled, sorted(steps))))
    if not fitting:
        raise MaskError(
            f"No dense network is as small as {survivors} weights: with {inputs} inputs, {outputs} outputs and 1 unit "
            f"in each of {len(widths)} hidden layers it has {weights(scaled(Fraction(0)))}. "
            "Ask for a lower sparsity, or leave the small dense control out."
        )
    return fitting[-1]


def _connected(draw: Callable[[], GroupMask], other_than: GroupMask | None = None) -> GroupMask:
    """The first draw that joins input to output in every network, and isn't `other_than`.

    Raises:
        MaskError: none of `DRAWS` is.
    """

    def another() -> GroupMask:
        mask = draw()
        if other_than is not None and all(np.array_equal(layer, other_than[path]) for path, layer in mask.items()):
            raise MaskError(
                "Each is the ticket's own mask, so the control would be the ticket. Choose the control `random`."
            )
        return mask

    return first_connected(another, DRAWS, f"None of {DRAWS} random masks is a control of this ticket.")


def _shuffled(mask: GroupMask, generator: np.random.Generator, kept: Collection[str] = ()) -> GroupMask:
    """All layers but `kept` permuted; hidden units, if the ticket is of whole units."""
    if is_structured(mask):
        units = {path: u if path in kept else generator.permutation(u) for path, u in units_of(mask).items()}
        return mask_of_units({path: layer.shape for path, layer in mask.items()}, units)
    return {
        path: layer if path in kept else generator.permutation(layer.ravel()).reshape(layer.shape)
        for path, layer in mask.items()
    }


def _curveball(layer: BoolArray, generator: np.random.Generator) -> BoolArray:
    """A random matrix with the row and column sums of `layer`."""
    turned = layer.shape[0] > layer.shape[1]
    rows = np.array(layer.T if turned else layer, order="C")
    for _ in range(SHUFFLE_ROUNDS):
        _trade(rows, generator)
    return np.ascontiguousarray(rows.T if turned else rows)


def _trade(rows: BoolArray, generator: np.random.Generator) -> None:
    """Pairs all rows at random (one is left over if odd); each pair deals out anew, in place, what only one of it has.

    Pairs share no row, so trading at once equals trading one after the other.
    """
    first, second = generator.permutation(len(rows))[: len(rows) // 2 * 2].reshape(2, -1)
    differing = rows[first] ^ rows[second]
    pair, column = np.nonzero(differing)
    column = column[np.lexsort((generator.random(pair.size), pair))]  # shuffled within each pair
    dealt = np.arange(pair.size) - np.searchsorted(pair, pair)
    goes_to_first = dealt < np.count_nonzero(rows[first] & differing, axis=1)[pair]
    rows[first[pair], column] = goes_to_first
    rows[second[pair], column] = ~goes_to_first


@dataclass(frozen=True, kw_only=True)
class Control(Method):
    """A control, described.

    Attributes:
        changes: the one thing in which it differs from the ticket.
    """

    cost: str = "one training"
    changes: str


MASK_CONTROLS: dict[str, MaskControl] = {
    "random": random_like,
    "random-erk": random_erk,
    "shuffled": shuffle_degrees,
    "first-layer": shuffle_all_but_first,
}
"""The controls that need no more than the ticket's mask and a generator."""

CONTROLS: dict[str, Control] = {
    "random": Control(
        summary="a random mask with the ticket's count in each layer",
        paper="Frankle et al. 2021, Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
        changes="which weights of each layer survive",
        use="Always: does it matter which weights survive, or only how many in each layer?",
    ),
    "random-erk": Control(
        summary="a random mask with the ticket's count in all, spread by Erdos-Renyi-Kernel",
        paper="Evci et al. 2020, Rigging the Lottery; Graesser et al. 2022, The State of Sparse Training in Deep RL",
        changes="which weights of the group survive, layer-wise counts included",
        use="Does the ticket beat a good random mask that nobody had to train for?",
    ),
    "shuffled": Control(
        summary="a random mask with the ticket's number of survivors at each input and each unit",
        paper="Strona et al. 2014, A fast and unbiased procedure to randomize ecological binary matrices",
        changes="which inputs are joined to which units, at the same degrees",
        use="Where random loses: is the ticket more than which inputs and units it favours?",
    ),
    "first-layer": Control(
        summary="the ticket's first layer, random masks with its counts behind it",
        paper="Vischer et al. 2022, On Lottery Tickets and Minimal Task Representations in Deep RL",
        changes="which weights survive behind the first layer",
        use="Where random loses: is the ticket more than its choice of inputs?",
    ),
    "inverted": Control(
        summary="the lowest scores survive, with the ticket's count in each layer",
        paper="Zhou et al. 2019, Deconstructing Lottery Tickets",
        changes="the sign of the ranking",
        use="Does the criterion rank anything? It should lose to random too.",
    ),
    "permuted-weights": Control(
        summary="the ticket's mask, its initial weights permuted within each layer",
        paper="Vischer et al. 2022, On Lottery Tickets and Minimal Task Representations in Deep RL",
        changes="which surviving position holds which initial weight",
        use="Is it the mask or the initial weights? Keeps the distribution of weights exactly.",
    ),
    "fresh-weights": Control(
        summary="the ticket's mask, initial weights drawn anew",
        paper="Frankle and Carbin 2019, The Lottery Ticket Hypothesis",
        changes="the initial weights",
        use="Is it the mask or the initial weights? The lottery's own question.",
    ),
    "small-dense": Control(
        summary="a dense network with no more weights than the ticket, in the dense agent's proportions",
        paper="Graesser et al. 2022, The State of Sparse Training in Deep RL",
        changes="narrow layers in place of sparse ones",
        use="Is sparse worth it, or is a smaller agent as good?",
    ),
    "dense-again": Control(
        summary="the dense agent's initial weights, all of them, trained once more with random streams of their own",
        paper="Henderson et al. 2018, Deep Reinforcement Learning that Matters",
        changes="nothing is pruned",
        use="Is what the ticket gains over the dense agent more than the luck of a second training?",
    ),
}
