"""The masks of a study: what remains in every layer, which inputs are read, and how much masks overlap."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlottery.agents.algorithms import algorithm_of
from rlottery.analysis.mask_facts import MaskFacts, facts_of, readable_masks, stability_of, weight_sizes
from rlottery.analysis.mask_overlap import Packed, overlap_between, overlap_within
from rlottery.analysis.runs import Run, arm_names
from rlottery.analysis.starved_layers import StarvedLayers, starved_in
from rlottery.config import Config
from rlottery.envs import entry_names
from rlottery.errors import MaskError
from rlottery.pruning.effective import mean_rank_one
from rlottery.pruning.masks import Overlap, by_network
from rlottery.pruning.untaught import is_untaught
from rlottery.storage.paths import DENSE, Store

SAME_SPARSITY = 0.001
"""Masks of two arms are compared if the sparsities of each group differ by no more than this."""


@dataclass(frozen=True)
class LayerSurvivors:
    """What remains of one layer, as means over seeds.

    Attributes:
        path: such as `actor.layer_0` or `critic.q1.layer_2`.
        kept: remaining weights; total: all weights.
        useful: those of the remaining weights that are on a path from an input to an output.
        dead: hidden units of this layer without a path to an output. Every output of the network counts, also the
            actor's log standard deviations. 0 for the last layer.
        without_input: units of this layer that no input reaches, dead ones excepted: they are constant, but still learn
            their bias. For the last layer: constant outputs.
        units: hidden units of this layer; 0 for the last layer.
        rank_one: `pruning.effective.rank_one_share` of the layer's scores, mean over the masks whose metadata have it.
    """

    path: str
    kept: float
    useful: float
    total: int
    dead: float
    without_input: float
    units: int
    rank_one: float | None = None

    @property
    def in_use(self) -> float:
        """Hidden units of this layer that are on a path from an input to an output."""
        return self.units - self.dead - self.without_input if self.units else 0.0


@dataclass(frozen=True)
class NetworkSurvivors:
    """What remains of one network, as means over seeds.

    Attributes:
        path: such as `actor` or `critic.q1`.
        kept, useful, total: sums over the layers of what `LayerSurvivors` has.
        in_use, units: hidden units on a path from an input to an output, and all of them.
        rank_one: mean over the layers for which it is known, weighted by their weights.
    """

    path: str
    kept: float
    useful: float
    total: int
    in_use: float
    units: int
    rank_one: float | None

    @property
    def idle(self) -> float:
        """Share of the remaining weights that are on no path."""
        return (self.kept - self.useful) / self.kept if self.kept else 0.0

    @property
    def effective_sparsity(self) -> float:
        """Share of all weights that are on no path."""
        return 1 - self.useful / self.total


@dataclass(frozen=True)
class InputShare:
    """What an arm's first layer keeps of one observation entry.

    Attributes:
        index, name: of the entry; the name is None where it is not known.
        kept: group -> mean share of the entry's weights that remain, over the networks of the group.
        acting: the same for the network that chooses actions, such as the actor.
        saliency: mean share of the total |w| in the first layer of that network of the trained dense agent that the
            entry's remaining weights hold; None where the dense agent can't be read.
        ignored: in how many seeds no weight of that network reads it.
    """

    index: int
    name: str | None
    kept: Mapping[str, float]
    acting: float
    saliency: float | None
    ignored: int


@dataclass(frozen=True)
class MaskOverlap:
    """The mean overlap of pairs of masks: the Jaccard index of all kernel weights, and that of random masks.

    Attributes:
        kind: what differs within a pair: "seed" (same arm and task), "criterion" (same task and seed, different arms
            with the same sparsity) or "task" (same arm and seed).
        one, other: arms, or tasks for the kind "task"; equal for the kind "seed".
        pairs: number of pairs.
        chance: the index expected if the masks were random with the same counts in every layer.
        task, arm: what both masks have in common; None where it differs.
    """

    kind: str
    one: str
    other: str
    pairs: int
    jaccard: float
    chance: float
    task: str | None = None
    arm: str | None = None


@dataclass(frozen=True)
class ArmMasks:
    """The masks of one arm on one task.

    Attributes:
        seeds: those whose mask could be read.
        stability: mean Jaccard index of masks made from independent draws of batches, over `stability_seeds`; None
            where it was not measured. stability_chance: that of random masks.
        kept: seed -> remaining weights of each layer, in the order of `layers`.
        shares_budget: whether twin networks share a budget in some mask (`storage.twins`).
        starved: the layers that some mask starves.
        untaught: seeds whose mask lets no action reach the output of any teacher of the acting network.
        picture: the mask of the first seed in the group that acts: layer path -> bool, shape (inputs, outputs).
    """

    task: str
    arm: str
    seeds: tuple[int, ...]
    layers: tuple[LayerSurvivors, ...]
    inputs: tuple[InputShare, ...]
    stability: float | None
    picture: Mapping[str, NDArray[np.bool_]]
    kept: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    stability_chance: float | None = None
    stability_seeds: tuple[int, ...] = ()
    shares_budget: bool = False
    starved: tuple[StarvedLayers, ...] = ()
    untaught: tuple[int, ...] = ()

    @property
    def acting(self) -> str:
        """What the network is called whose mask is the `picture`: ``actor`` or ``Q-network``."""
        return "Q-network" if any(path.startswith("q.") for path in self.picture) else "actor"

    @property
    def networks(self) -> tuple[NetworkSurvivors, ...]:
        """What remains of each network, in the order of `layers`."""
        return tuple(_network(path, of) for path, of in by_network({of.path: of for of in self.layers}).items())


@dataclass(frozen=True)
class MaskAnalysis:
    """All masks of a study.

    Attributes:
        overlaps: between seeds, criteria and tasks.
        problems: why some masks could not be read.
        acting, teachers: the network that chooses actions, and those through which it learns.
    """

    arms: tuple[ArmMasks, ...]
    overlaps: tuple[MaskOverlap, ...]
    problems: tuple[str, ...]
    acting: str = ""
    teachers: tuple[str, ...] = ()

    @property
    def tasks(self) -> list[str]:
        """The tasks of its arms, in their order."""
        return list(dict.fromkeys(arm.task for arm in self.arms))


def analyse_masks(store: Store, config: Config, runs: Mapping[str, Sequence[Run]]) -> MaskAnalysis:
    """Analyse the masks of these runs. Masks that can't be read are skipped and reported.

    Every mask file is read once, and only its bits and counts stay in memory: 1/8 byte per weight.

    Args:
        runs: task id -> its runs, by seed (`rlottery.analysis.runs.read_runs`).
    """
    problems: list[str] = []
    removed: list[Path] = []
    acting, teachers = algorithm_of(config).acting, algorithm_of(config).teachers
    group = acting.partition(".")[0]
    of_task: dict[str, dict[str, list[MaskFacts]]] = {}
    pictures: dict[tuple[str, str], Mapping[str, NDArray[np.bool_]]] = {}
    for task in config.tasks:
        found: dict[str, list[MaskFacts]] = {}
        seed, dense = None, {}
        for run, mask in readable_masks(runs.get(task.id, ()), problems):
            stability = stability_of(run, mask, problems)
            if run.seed != seed:
                seed = run.seed
                dense = weight_sizes(store.run(task.name, seed, DENSE), acting, problems, removed)
            try:
                facts = facts_of(run, mask, acting, dense, stability)
            except MaskError as error:
                problems.append(f"{run.files.mask}: {error}")
                continue
            of_arm = found.setdefault(run.arm, [])
            if of_arm and facts.packed.shapes != of_arm[0].packed.shapes:
                problems.append(f"{run.files.mask} has different layers from the mask of seed {of_arm[0].seed}.")
                continue
            of_arm.append(facts)
            pictures.setdefault(
                (task.id, run.arm), {f"{group}.{path}": layer for path, layer in mask.groups[group].items()}
            )
        of_task[task.id] = {arm: found[arm] for arm in arm_names(runs.get(task.id, ())) if found.get(arm)}
    arms = tuple(
        _arm_masks(task, arm, facts, pictures[task, arm], teachers)
        for task, by_arm in of_task.items()
        for arm, facts in by_arm.items()
    )
    if removed:
        problems.append(
            f"The weights of {len(removed)} dense agent{'' if len(removed) == 1 else 's'} were removed (such as "
            f"{removed[0]}), so the saliency of their observation entries isn't known."
        )
    return MaskAnalysis(arms, tuple(_overlaps(of_task)), tuple(dict.fromkeys(problems)), acting, teachers)


def _arm_masks(
    task: str,
    arm: str,
    found: Sequence[MaskFacts],
    picture: Mapping[str, NDArray[np.bool_]],
    teachers: Sequence[str],
) -> ArmMasks:
    shapes, hidden = found[0].packed.shapes, found[0].hidden
    layers = np.mean([facts.layers for facts in found], axis=0)
    rank_ones = [_known_mean(of_layer) for of_layer in np.transpose([facts.rank_one for facts in found])]
    measured = {facts.seed: facts.stability for facts in found if facts.stability is not None}
    return ArmMasks(
        task=task,
        arm=arm,
        seeds=tuple(facts.seed for facts in found),
        layers=tuple(
            LayerSurvivors(path, kept, useful, prod(shape), dead, without, units, rank_one)
            for (path, shape), (kept, useful, dead, without), units, rank_one in zip(
                shapes.items(), layers.tolist(), hidden, rank_ones, strict=True
            )
        ),
        inputs=_inputs(task, found),
        stability=statistics.fmean(s.jaccard for s in measured.values()) if measured else None,
        picture=picture,
        kept={facts.seed: tuple(int(kept) for kept, *_ in facts.layers) for facts in found},
        stability_chance=statistics.fmean(s.chance for s in measured.values()) if measured else None,
        stability_seeds=tuple(measured),
        shares_budget=any(facts.shares_budget for facts in found),
        starved=tuple(starved_in([facts.starved for facts in found], _twins(shapes))),
        untaught=tuple(facts.seed for facts in found if is_untaught(facts.blind, teachers)),
    )


def _twins(layers: Iterable[str]) -> dict[str, int]:
    """Group -> the number of its networks, from the paths of their layers."""
    networks = by_network(dict.fromkeys(layers))
    return dict(Counter(path.partition(".")[0] for path in networks))


def _network(path: str, layers: Mapping[str, LayerSurvivors]) -> NetworkSurvivors:
    of = layers.values()
    return NetworkSurvivors(
        path,
        kept=sum(layer.kept for layer in of),
        useful=sum(layer.useful for layer in of),
        total=sum(layer.total for layer in of),
        in_use=sum(layer.in_use for layer in of),
        units=sum(layer.units for layer in of),
        rank_one=mean_rank_one((layer.rank_one, layer.total) for layer in of),
    )


def _known_mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _inputs(task: str, found: Sequence[MaskFacts]) -> tuple[InputShare, ...]:
    names = entry_names(task, len(found[0].acting))
    kept = {group: np.mean([facts.inputs[group] for facts in found], axis=0) for group in found[0].inputs}
    acting = np.mean([facts.acting for facts in found], axis=0)
    ignored = np.sum([facts.acting == 0 for facts in found], axis=0)
    known = [facts.saliency for facts in found if facts.saliency is not None]
    saliency = np.mean(known, axis=0) if known else None
    return tuple(
        InputShare(
            index=index,
            name=name,
            kept={group: float(shares[index]) for group, shares in kept.items()},
            acting=float(acting[index]),
            saliency=None if saliency is None else float(saliency[index]),
            ignored=int(ignored[index]),
        )
        for index, name in enumerate(names)
    )


def _overlaps(of_task: Mapping[str, Mapping[str, Sequence[MaskFacts]]]) -> Iterator[MaskOverlap]:
    def mean(kind: str, one: str, other: str, found: tuple[int, Overlap] | None, **same: str) -> Iterator[MaskOverlap]:
        if found is not None:
            count, overlap = found
            yield MaskOverlap(kind, one, other, count, overlap.jaccard, overlap.chance, **same)

    for task, by_arm in of_task.items():
        for arm, of_arm in by_arm.items():
            seeds = overlap_within([facts.packed for facts in of_arm])
            yield from mean("seed", arm, arm, seeds, task=task, arm=arm)
    for task, by_arm in of_task.items():
        for one, other in combinations(by_arm, 2):
            if _same_sparsity(by_arm[one], by_arm[other]):
                both = overlap_between(*_same_seed(by_arm[one], by_arm[other]))
                yield from mean("criterion", one, other, both, task=task)
    for one, other in combinations(of_task, 2):
        for arm in of_task[one]:
            both = overlap_between(*_same_seed(of_task[one][arm], of_task[other].get(arm, ())))
            yield from mean("task", one, other, both, arm=arm)


def _same_seed(found: Iterable[MaskFacts], others: Iterable[MaskFacts]) -> tuple[list[Packed], list[Packed]]:
    """The masks of the seeds that both have."""
    by_seed = {facts.seed: facts.packed for facts in others}
    shared = [facts for facts in found if facts.seed in by_seed]
    return [facts.packed for facts in shared], [by_seed[facts.seed] for facts in shared]


def _same_sparsity(found: Sequence[MaskFacts], others: Sequence[MaskFacts]) -> bool:
    for group in found[0].sparsity:
        one, other = (statistics.fmean(facts.sparsity[group] for facts in of) for of in (found, others))
        if abs(one - other) > SAME_SPARSITY:
            return False
    return True
