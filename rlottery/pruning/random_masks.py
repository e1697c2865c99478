"""Random masks that keep some property of a ticket's mask: the masks of the controls.

Every function takes the ticket's mask of one group and a generator, and returns a new mask. It raises MaskError if no
draw connects input and output.
"""

from collections.abc import Callable, Collection

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.allocation import allocate_erk
from rlottery.pruning.masks import GroupMask, by_network, first_connected, sparsity_of
from rlottery.pruning.ranking import BoolArray
from rlottery.pruning.structured import is_structured, mask_of_units, units_of

SHUFFLE_ROUNDS = 32
"""In each round, a row trades with one other row and takes over each of its differing survivors about half of the time.
A survivor can reach any of 256 rows within 8 rounds. 32 rounds are four times that, and still cheap."""


def random_like(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """Random positions with the ticket's exact count in each layer; random units if the ticket prunes whole units.

    A ticket that beats this control knows more than how many weights each layer keeps (Frankle et al. 2021, Pruning
    Neural Networks at Initialization).
    """
    return _connected(lambda: _shuffled(mask, generator))


def random_erk(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """Random positions with the ticket's count in the group, distributed over the layers by `allocate_erk`.

    Evci et al. 2020, RigL; Graesser et al. 2022 find it better than uniform layers for agents.

    Raises:
        MaskError: there are fewer survivors than layers.
    """
    counts = allocate_erk({path: layer.shape for path, layer in mask.items()}, sparsity_of(mask))

    def draw() -> GroupMask:
        return {
            path: generator.permutation(np.arange(layer.size) < counts[path]).reshape(layer.shape)
            for path, layer in mask.items()
        }

    return _connected(draw)


def shuffle_degrees(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """A random mask in which each input and each unit of every layer has as many survivors as in the ticket.

    Both masks favour the same inputs, which tickets are known to do (Vischer et al. 2022). A ticket that beats this
    control knows which unit should be connected to which. Curveball trades (Strona et al. 2014) sample all such masks
    with equal probability. Rows trade in random pairs, all at once (global trades, Carstens et al. 2018), for
    `SHUFFLE_ROUNDS` rounds of rows/2 trades along the shorter side of the layer.

    Raises:
        MaskError: the ticket's mask is the only one with its degrees, as with whole units.
    """
    return _connected(lambda: {path: _curveball(layer, generator) for path, layer in mask.items()}, other_than=mask)


def shuffle_all_but_first(mask: GroupMask, generator: np.random.Generator) -> GroupMask:
    """The ticket's first layer in every network, and all later layers as in `random_like`.

    The choice of inputs may be all that a ticket has to offer (Vischer et al. 2022).

    Raises:
        MaskError: the ticket has nothing to shuffle after its first layers.
    """
    first = [next(iter(layers)) for layers in by_network(mask).values()]
    return _connected(lambda: _shuffled(mask, generator, kept=first), other_than=mask)


def _connected(draw: Callable[[], GroupMask], other_than: GroupMask | None = None) -> GroupMask:
    """The first draw that connects input and output in every network and isn't `other_than`."""

    def another() -> GroupMask:
        mask = draw()
        if other_than is not None and all(np.array_equal(layer, other_than[path]) for path, layer in mask.items()):
            raise MaskError(
                "Each draw is the ticket's own mask, so the control would equal the ticket. Use the control `random`."
            )
        return mask

    return first_connected(another)


def _shuffled(mask: GroupMask, generator: np.random.Generator, kept: Collection[str] = ()) -> GroupMask:
    """All layers except `kept` permuted; if the ticket prunes whole units, hidden units are permuted instead."""
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
    """Pairs the rows at random (an odd one stays as it is); each pair redistributes, in place, what only one row has.

    No row is in two pairs, so trading all at once is the same as trading one pair after the other.
    """
    first, second = generator.permutation(len(rows))[: len(rows) // 2 * 2].reshape(2, -1)
    differing = rows[first] ^ rows[second]
    pair, column = np.nonzero(differing)
    column = column[np.lexsort((generator.random(pair.size), pair))]  # shuffled within each pair
    dealt = np.arange(pair.size) - np.searchsorted(pair, pair)
    goes_to_first = dealt < np.count_nonzero(rows[first] & differing, axis=1)[pair]
    rows[first[pair], column] = goes_to_first
    rows[second[pair], column] = ~goes_to_first
