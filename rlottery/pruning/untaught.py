"""Actors that a mask leaves without a teacher: no action is on a path to the output of the critics that they learn by.

A mask can do this although each of its networks connects some input to an output: the observation still gets through.
"""

from collections.abc import Mapping, Sequence

from rlottery.pruning.effective import on_a_path
from rlottery.pruning.masks import GroupMask, by_network


def blind_networks(groups: Mapping[str, GroupMask], acting: str) -> tuple[str, ...]:
    """Paths of the networks that read actions, and in which no action is on a path to an output.

    Args:
        groups: of a whole agent. Networks read the observation first, then actions if they read more.
        acting: path of the network that chooses actions, which reads the observation alone.
    """
    layers = {
        f"{group}.{name}" if name else group: list(network.values())
        for group, mask in groups.items()
        for name, network in by_network(mask).items()
    }
    observation = layers[acting][0].shape[0]
    return tuple(
        path
        for path, network in layers.items()
        if network[0].shape[0] > observation and not on_a_path(network)[0][observation:].any()
    )


def is_untaught(blind: Sequence[str], teachers: Sequence[str]) -> bool:
    """Whether all networks that teach the one that acts are blind to actions. False if it needs none."""
    return bool(teachers) and set(teachers) <= set(blind)


def untaught_in_words(teachers: Sequence[str], acting: str) -> str:
    """``no action reaches the output of critic.q1, through which the actor learns, so that it ...``."""
    it = "it" if len(teachers) == 1 else "them"
    learns = f"through which the {acting} learns, so that it learns nothing from {it}"
    return f"no action reaches the output of {' or '.join(teachers)}, {learns}"
