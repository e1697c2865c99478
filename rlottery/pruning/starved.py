"""Starved layers: an allocation gives them so few weights that the network can use few of its units.

A ranking over a whole network, as `allocation: global` makes it, compares scores of layers whose scales differ. A layer
with small scores keeps almost nothing then, however many weights the network keeps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rlottery.pruning.effective import units_in_use
from rlottery.pruning.masks import GroupMask, by_network

LITTLE = 0.5
"""A starved layer keeps less than this part of the share that its network keeps.

`uniform` gives every layer that share. `erk` gives a layer of a network whose hidden layers are equally wide at least
half of it: the larger its layers, the closer to one half. So neither of them starves a layer by itself.
"""
NARROW = 0.25
"""It connects a hidden layer of which less than this share of the units is on a path from an input to an output.

Otherwise few weights do no such harm. With fewer units, a network is as narrow as one of a quarter of its width.
"""


@dataclass(frozen=True)
class StarvedLayer:
    """A starved layer of one network.

    Attributes:
        network, path: of the network in its group (empty if it is the only one), and of the layer.
        place: of the layer in its network, from 0; layers: how many the network has.
        kept, size: remaining weights, and all weights of the layer.
        of_network: the share of all its weights that the network keeps.
        in_use, units: of the hidden layer that it leaves fewest units of: those on a path from an input to an output,
            and all.
    """

    network: str
    path: str
    place: int
    layers: int
    kept: int
    size: int
    of_network: float
    in_use: int
    units: int

    @property
    def in_words(self) -> str:
        """``q1.layer_0 is starved: it keeps 0.4 % of its weights, ...``"""
        keeps, shares = f"it keeps {100 * self.kept / self.size:.2g} % of its weights", f"{100 * self.of_network:.2g} %"
        used = f"{self.in_use:,} of {self.units:,} units are in use"
        return f"{self.path} is starved: {keeps}, where its whole network keeps {shares}, and {used}."


def starved_layers(mask: GroupMask) -> Iterator[StarvedLayer]:
    """The starved layers of a group's networks, from input to output.

    Args:
        mask: path -> bool (inputs, outputs), with layers that fit together.
    """
    for name, network in by_network(mask).items():
        layers = list(network.values())
        used = units_in_use(layers)
        of_network = sum(map(np.count_nonzero, layers)) / sum(layer.size for layer in layers)
        for place, (path, layer) in enumerate(network.items()):
            kept = int(np.count_nonzero(layer))
            hidden = [
                units for at, units in ((place, used[place]), (place + 1, used[place + 1])) if 0 < at < len(layers)
            ]
            if kept >= LITTLE * of_network * layer.size or not hidden:
                continue
            narrowest = min(hidden, key=lambda units: float(units.mean()))
            if narrowest.mean() < NARROW:
                in_use = int(np.count_nonzero(narrowest))
                counts = (kept, layer.size, of_network, in_use, narrowest.size)
                yield StarvedLayer(name, path, place, len(layers), *counts)
