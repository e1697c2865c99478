"""The starved layers of an arm's masks, those of all seeds and of twin networks together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rlottery.pruning.starved import StarvedLayer

_N = TypeVar("_N", int, float)
Span = tuple[_N, _N]
"""The lowest and the highest."""


@dataclass(frozen=True)
class StarvedLayers:
    """A layer that some masks of an arm starve (`pruning.starved`). Spans are over these masks and twin networks.

    Attributes:
        group: of networks, such as "critic"; twins: how many networks it has.
        place: of the layer in its network, from 0; layers: how many the network has.
        kept: remaining weights; size: all weights of the layer.
        of_network: the share of all its weights that the network keeps.
        in_use: units in use of the hidden layer that it makes narrow; units: all units of that layer.
        starved, networks: in how many networks the layer is starved, of all that the arm's masks have of this group.
    """

    group: str
    twins: int
    place: int
    layers: int
    kept: Span[int]
    size: int
    of_network: Span[float]
    in_use: Span[int]
    units: int
    starved: int
    networks: int

    @property
    def share(self) -> Span[float]:
        """The share of the layer's weights that remain."""
        return self.kept[0] / self.size, self.kept[1] / self.size


def starved_in(masks: Sequence[Mapping[str, Sequence[StarvedLayer]]], twins: Mapping[str, int]) -> list[StarvedLayers]:
    """The starved layers of an arm, by group and from input to output.

    Args:
        masks: for every mask, group -> its starved layers.
        twins: group -> how many networks it has.
    """
    found = []
    for group, networks in twins.items():
        every = [layer for mask in masks for layer in mask.get(group, ())]
        for place in sorted({layer.place for layer in every}):
            of = [layer for layer in every if layer.place == place]
            found.append(
                StarvedLayers(
                    group=group,
                    twins=networks,
                    place=place,
                    layers=of[0].layers,
                    kept=_span([layer.kept for layer in of]),
                    size=of[0].size,
                    of_network=_span([layer.of_network for layer in of]),
                    in_use=_span([layer.in_use for layer in of]),
                    units=of[0].units,
                    starved=len(of),
                    networks=networks * len(masks),
                )
            )
    return found


def _span(values: Sequence[_N]) -> Span[_N]:
    return min(values), max(values)
