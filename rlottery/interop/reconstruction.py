"""The initial weights of an agent, which its library makes again from the seed in its file.

Stable-Baselines3 seeds all generators in an agent's constructor, and makes its networks next. SBX derives the keys of
its networks from the seed. The same seed, settings and versions therefore give the same weights. Whether they are the
agent's is tested: trained networks still resemble what they were at first, and those of other seeds don't.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent
from rlottery.interop.library import Library
from rlottery.interop.read_agent import AgentFile, with_weights

DEVIATIONS = 5.0
"""How many standard deviations of what other seeds would give the correlation has to exceed. By chance, a network does
with a probability of 3e-7."""
_SAME = 1e-6
"""How much a file of initial weights may differ. Orthogonal ones are computed, and processors round in other ways."""


@dataclass(frozen=True)
class Reconstruction:
    """Initial weights that were made again.

    Attributes:
        agent: with these weights.
        seed: that of the agent.
        by: what made them, for people: "stable-baselines3 2.9.2, torch 2.13.0".
        correlation: of the kernels' entries with the trained ones: the smallest of all networks.
    """

    agent: ForeignAgent
    seed: int
    by: str
    correlation: float


def makes_weights_again(library: str) -> bool:
    """Whether a library writes the seed and the settings to its files that give an agent's initial weights."""
    return library.startswith(("Stable-Baselines3", "SBX"))


def reconstructed(file: AgentFile, library: Library) -> Reconstruction:
    """The initial weights of an agent of Stable-Baselines3 or SBX.

    Raises ForeignFileError: its file has no seed, or what the library makes doesn't resemble the agent.
    """
    agent = file.agent
    if not makes_weights_again(agent.library):
        raise ForeignFileError(
            f"{file.path}: initial weights can be reconstructed for agents of Stable-Baselines3 and SBX alone, not for "
            f"one of {agent.library}, whose files have no seed and no settings. Leave out --initial-from-seed."
        )
    if agent.seed is None:
        raise ForeignFileError(
            f"{file.path}: the agent was trained without a seed (seed=None), so its initial weights can't be "
            "reconstructed. Leave out --initial-from-seed."
        )
    weights, versions = library.initial(file.path, agent.algorithm)
    by = ", ".join(f"{name} {version}" for name, version in versions.items())
    try:
        initial = with_weights(file, weights, library)
        if initial.networks != agent.networks:
            raise ForeignFileError("their shapes differ")
    except ForeignFileError as error:
        raise ForeignFileError(
            f"{file.path}: the weights that {by} makes from its seed aren't those of its networks: {error}. Use the "
            "versions that it was trained with."
        ) from None
    found = {network: _correlation(agent, initial, network) for network in agent.networks}
    network, (correlation, deviation) = min(found.items(), key=lambda item: item[1][0] / item[1][1])
    if correlation < DEVIATIONS * deviation:
        raise ForeignFileError(
            f"{file.path}: the weights that {by} makes from seed {agent.seed} can't be confirmed as the agent's "
            f"initial ones. In its network {network}, their correlation with the trained weights is "
            f"{correlation:.3f}, and other seeds give 0 with a standard deviation of {deviation:.3f}. The agent was "
            "trained with other versions, or began with other weights, or its training has left nothing of them. Use "
            "the versions that it was trained with, or leave out --initial-from-seed."
        )
    return Reconstruction(initial, agent.seed, by, min(correlation for correlation, _ in found.values()))


def _correlation(agent: ForeignAgent, initial: ForeignAgent, network: str) -> tuple[float, float]:
    """Correlation of a network's weights with other ones, each kernel standardised by itself; its deviation by chance.

    Kernels whose entries are all equal are left out.
    """
    pairs = []
    for name, array in agent.arrays.items():
        if name.startswith(f"params.{network}.layer_") and name.endswith(".kernel"):
            ours, first = (np.asarray(of, np.float64).reshape(-1) for of in (array, initial.arrays[name]))
            if ours.std() > 0 and first.std() > 0:
                pairs.append((ours - ours.mean()) / ours.std() * (first - first.mean()) / first.std())
    products = np.concatenate(pairs) if pairs else np.zeros(1)
    return float(products.mean()), 1 / math.sqrt(len(products))


def check_same(path: Path, given: ForeignAgent, made: Reconstruction) -> None:
    """Raise ForeignFileError unless a file of initial weights has the reconstructed ones."""
    for name, array in made.agent.arrays.items():
        if name.startswith("params.") or name == "log_std":
            difference = float(np.abs(array - given.arrays[name]).max(initial=0))
            if difference > _SAME:
                raise ForeignFileError(
                    f"{path} doesn't have the weights that {made.by} makes from seed {made.seed}: those of "
                    f"{name.removeprefix('params.')} differ by up to {difference:.2g}. Leave out --initial or "
                    "--initial-from-seed."
                )
