"""What the masks of a study look like."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerSurvivors:
    """Survivors of one layer, mean over `seeds`.

    Attributes:
        path: such as `actor.layer_0` or `critic.q1.layer_2`.
        kept: survivors; total: weights.
        dead: hidden units of this layer's output without a way to the network's output; units: how many there are.
            Of the last layer both are 0.
        without_input: units of this layer that have no surviving input and are constant.
    """

    path: str
    kept: float
    total: int
    dead: float
    without_input: float
    units: int


@dataclass(frozen=True)
class InputShare:
    """What an arm's first layer keeps of one observation entry, over `seeds`.

    Attributes:
        index, name: of the entry; the name is None where not known.
        actor, critic: mean share of the entry's weights that survive, of 1; of the critics the mean of both.
        saliency: mean share of the group's total |w| (trained dense weight) that enters through this entry's survivors
            in the actor; None where the dense agent can't be read.
        ignored: in how many of the seeds no weight of the actor reads it.
    """

    index: int
    name: str | None
    actor: float
    critic: float
    saliency: float | None
    ignored: int


@dataclass(frozen=True)
class Likeness:
    """How much masks share: mean Jaccard index of all kernel weights over `pairs` pairs, and what chance would give.

    Attributes:
        kind: what differs between the two of a pair.
        one, other: arms (equal for kind "seed" and "task"), or tasks for kind "task".
    """

    kind: str
    one: str
    other: str
    pairs: int
    jaccard: float
    chance: float


@dataclass(frozen=True)
class ArmMasks:
    """The masks of one arm on one task.

    Attributes:
        seeds: whose mask could be read.
        stability: mean Jaccard index of masks made from independent resamples of the batches; None where not measured.
        picture: survivors of the actor's first seed's mask, layer path -> bool (inputs, outputs).
    """

    task: str
    arm: str
    seeds: tuple[int, ...]
    layers: tuple[LayerSurvivors, ...]
    inputs: tuple[InputShare, ...]
    stability: float | None
    picture: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class MaskPages:
    """All masks of a study.

    Attributes:
        likeness: between seeds, criteria and tasks.
        problems: masks that could not be read, in words.
    """

    arms: tuple[ArmMasks, ...]
    likeness: tuple[Likeness, ...]
    problems: tuple[str, ...]
