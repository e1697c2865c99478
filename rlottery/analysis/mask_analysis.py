"""What the masks of a study look like."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.mask_facts import DenseActor, MaskFacts, facts_of, readable_masks, stability_of
from rlottery.analysis.mask_overlap import Packed, mean_overlap
from rlottery.analysis.runs import Run, arm_names
from rlottery.config import Config
from rlottery.envs import observation_names
from rlottery.errors import MaskError
from rlottery.storage.paths import DENSE, Store

SAME_SPARSITY = 0.001
"""Two arms are compared weight by weight if the pruned shares of each group are no further apart."""


@dataclass(frozen=True)
class LayerSurvivors:
    """Survivors of one layer, mean over `seeds`.

    Attributes:
        path: such as `actor.layer_0` or `critic.q1.layer_2`.
        kept: survivors; total: weights.
        dead: hidden units of this layer's output without a way to the network's output; units: how many there are.
            Of the last layer both are 0. All outputs count, the actor's log-standard-deviations too.
        without_input: units of this layer that no input reaches, and which are no dead ones: constants that still
            learn. Of the last layer: constant outputs.
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
        saliency: of the total |w| in the first layer of the trained dense actor, the mean share that this entry's
            survivors hold, of 1; None where the dense agent can't be read.
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
            "seed": arm and task are the same. "criterion": task and seed are, and the arms have one sparsity.
            "task": arm and seed are.
        one, other: arms, or tasks for kind "task"; equal for kind "seed".
        task, arm: those that both are of; None where that is what differs.
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
        seeds: whose mask could be read.
        stability: mean Jaccard index of masks made from independent resamples of the batches, over `stability_seeds`;
            None where not measured. stability_chance: what chance would give.
        kept: seed -> survivors of each layer, in the order of `layers`.
        picture: survivors of the actor's first seed's mask, layer path -> bool (inputs, outputs).
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


def analyse_masks(store: Store, config: Config, runs: Mapping[str, Sequence[Run]]) -> MaskPages:
    """Everything that is told of the masks of these runs; masks that can't be read are left out, and named.

    A mask file is read once, and only its bits and counts are kept: 1/8 byte a weight.

    Args:
        runs: task id -> its runs (`rlottery.analysis.runs.read_runs`).
    """
    problems: list[str] = []
    of_task: dict[str, dict[str, list[MaskFacts]]] = {}
    pictures: dict[tuple[str, str], Mapping[str, NDArray[np.bool_]]] = {}
    for task in config.tasks:
        found: dict[str, list[MaskFacts]] = {}
        dense = {seed: DenseActor(store.run(task.name, seed, DENSE), problems) for seed in config.seeds}
        for run, mask in readable_masks(runs.get(task.id, ()), problems):
            try:
                facts = facts_of(run, mask, dense.get(run.seed), stability_of(run, mask, problems))
            except MaskError as error:
                problems.append(f"{run.files.mask}: {error}")
                continue
            of_arm = found.setdefault(run.arm, [])
            if of_arm and facts.packed.shapes != of_arm[0].packed.shapes:
                problems.append(f"{run.files.mask} has other layers than the mask of seed {of_arm[0].seed}.")
                continue
            of_arm.append(facts)
            pictures.setdefault(
                (task.id, run.arm), {f"actor.{path}": layer for path, layer in mask.groups["actor"].items()}
            )
        of_task[task.id] = {arm: found[arm] for arm in arm_names(runs.get(task.id, ())) if found.get(arm)}
    arms = tuple(
        _arm_masks(task, arm, facts, pictures[task, arm])
        for task, by_arm in of_task.items()
        for arm, facts in by_arm.items()
    )
    return MaskPages(arms, tuple(_likenesses(of_task)), tuple(dict.fromkeys(problems)))


def _arm_masks(task: str, arm: str, found: Sequence[MaskFacts], picture: Mapping[str, NDArray[np.bool_]]) -> ArmMasks:
    shapes, hidden = found[0].packed.shapes, found[0].hidden
    layers = np.mean([facts.layers for facts in found], axis=0)
    measured = {facts.seed: facts.stability for facts in found if facts.stability is not None}
    return ArmMasks(
        task=task,
        arm=arm,
        seeds=tuple(facts.seed for facts in found),
        layers=tuple(
            LayerSurvivors(path, float(kept), shape[0] * shape[1], float(dead), float(without), units)
            for (path, shape), (kept, dead, without), units in zip(shapes.items(), layers, hidden, strict=True)
        ),
        inputs=_inputs(task, found),
        stability=statistics.fmean(s.jaccard for s in measured.values()) if measured else None,
        picture=picture,
        kept={facts.seed: tuple(int(kept) for kept, _, _ in facts.layers) for facts in found},
        stability_chance=statistics.fmean(s.chance for s in measured.values()) if measured else None,
        stability_seeds=tuple(measured),
    )


def _inputs(task: str, found: Sequence[MaskFacts]) -> tuple[InputShare, ...]:
    names: Sequence[str | None] | None = observation_names(task)
    entries = len(found[0].actor)
    if names is None or len(names) != entries:  # unknown, or made with arguments that change what is seen
        names = [None] * entries
    actor, critic = (np.mean([getattr(facts, group) for facts in found], axis=0) for group in ("actor", "critic"))
    ignored = np.sum([facts.actor == 0 for facts in found], axis=0)
    known = [facts.saliency for facts in found if facts.saliency is not None]
    saliency = np.mean(known, axis=0) if known else None
    return tuple(
        InputShare(
            index=index,
            name=name,
            actor=float(actor[index]),
            critic=float(critic[index]),
            saliency=None if saliency is None else float(saliency[index]),
            ignored=int(ignored[index]),
        )
        for index, name in enumerate(names)
    )


def _likenesses(of_task: Mapping[str, Mapping[str, Sequence[MaskFacts]]]) -> Iterator[Likeness]:
    def told(
        kind: str, one: str, other: str, pairs: Iterable[tuple[Packed, Packed]], **same: str
    ) -> Iterator[Likeness]:
        if (found := mean_overlap(pairs)) is not None:
            count, overlap = found
            yield Likeness(kind, one, other, count, overlap.jaccard, overlap.chance, **same)

    for task, by_arm in of_task.items():
        for arm, found in by_arm.items():
            seeds = combinations([facts.packed for facts in found], 2)
            yield from told("seed", arm, arm, seeds, task=task, arm=arm)
    for task, by_arm in of_task.items():
        for one, other in combinations(by_arm, 2):
            if _of_one_sparsity(by_arm[one], by_arm[other]):
                yield from told("criterion", one, other, _same_seed(by_arm[one], by_arm[other]), task=task)
    for one, other in combinations(of_task, 2):
        for arm in of_task[one]:
            pairs = _same_seed(of_task[one][arm], of_task[other].get(arm, ()))
            yield from told("task", one, other, pairs, arm=arm)


def _same_seed(found: Iterable[MaskFacts], others: Iterable[MaskFacts]) -> Iterator[tuple[Packed, Packed]]:
    by_seed = {facts.seed: facts.packed for facts in others}
    return ((facts.packed, by_seed[facts.seed]) for facts in found if facts.seed in by_seed)


def _of_one_sparsity(found: Sequence[MaskFacts], others: Sequence[MaskFacts]) -> bool:
    return all(
        abs(_mean_sparsity(found, group) - _mean_sparsity(others, group)) <= SAME_SPARSITY
        for group in found[0].sparsity
    )


def _mean_sparsity(found: Sequence[MaskFacts], group: str) -> float:
    return statistics.fmean(facts.sparsity[group] for facts in found)
