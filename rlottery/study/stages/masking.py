"""The mask stage: a mask from scores, from another arm's mask, or from a file."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from rlottery.agents.base import jax_key, nest_masks
from rlottery.errors import MaskError, naming
from rlottery.pruning.controls import MASK_CONTROLS, invert
from rlottery.pruning.criteria import ESTIMATES, Criterion, evidence_for, score
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.pruning.masks import GroupMask, Mask, check_shapes, make_mask, sparsity_of
from rlottery.pruning.prune import prune
from rlottery.pruning.ranking import Scores
from rlottery.storage.disk import write_bytes
from rlottery.storage.manifests import read_manifest
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.arms import Arm
from rlottery.study.planning.finished_runs import matching_manifest
from rlottery.study.planning.inputs import (
    expected_mask_fingerprint,
    expected_ticket_fingerprint,
    foreign_mask_path,
    given_mask,
    initial_kernels,
    own_mask,
)
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.agents import (
    ALGORITHM,
    dense_replay,
    initial_weights,
    saved_agent,
    settings_of,
    streams_of,
    warmup_replay,
)
from rlottery.training.saliency import Statistics, as_initial, gather_statistics

Groups = dict[str, GroupMask]
LISTED = "listed"
"""Stands in a mask's metadata where the guide's two arms name their method."""


def create_mask(job: Job) -> None:
    """Make the mask in the arm's folder, and of the guide's two arms under the method's name.

    Raises:
        DamagedError: a file of the dense agent is not what was written.
        StudyError: the arm's ticket is there, trained with another mask, which stays as it is.
        MaskError: the mask can't be made.
    """
    if own_mask(job) is None:
        mask = _make(job)
        if read_manifest(job.files) is not None:
            # Only then: what the ticket will start from need not be there yet.
            matching_manifest(job.files, expected_ticket_fingerprint(job, mask))
        write_bytes(job.files.mask, mask_to_bytes(mask))
    if job.mask_path != job.files.mask:
        write_bytes(job.mask_path, job.files.mask.read_bytes())


class Resampling:
    """Masks that a job would have made from other batches, of an arm whose criterion reads data.

    What is the same for all of them is read once: the agent that is scored, and the replay.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._evidence = job, _Evidence(job)

    def draw(self, index: int) -> Groups:
        """The mask from the `index`-th independent draw of batches and noise; none is the mask's own.

        Raises:
            DamagedError: a file that it reads is not what was written.
            StudyError, MaskError: as `create_mask`.
        """
        self._evidence.resample = (index,)
        if self._job.ticket_arm.of is None:
            return _pruned(self._job, self._evidence)
        source = self._job.mask_source
        assert source is not None
        return _inverted(self._evidence, given_mask(source).groups)


def described(job: Job, groups: Groups, asked: dict[str, float], scored: dict[str, Any] | None = None) -> Mask:
    """A mask of the job's arm with its metadata.

    Args:
        asked: sparsity by group.
        scored: what the scores were made of: batches, their size, and each group's loss.
    """
    arm = job.ticket_arm
    criterion = arm.criterion
    estimator = None if criterion is None else criterion.estimator_with(arm.scoring.recipe.estimator)
    return make_mask(
        groups["actor"],
        groups["critic"],
        task=job.task.id,
        seed=job.seed,
        method=arm.method or LISTED,
        criterion=arm.scoring.recipe.criterion or arm.kind,
        estimator=estimator,
        sparsity=asked,
        fingerprint=expected_mask_fingerprint(job),
        scored=scored,
    )


def _make(job: Job) -> Mask:
    of = job.ticket_arm.of
    try:
        return _made(job)
    except MaskError as error:
        if of is None:
            raise
        raise MaskError(
            f"{error}\nThe sparsity is that of {of.name}: change it there, or leave this arm out."
        ) from None


def _made(job: Job) -> Mask:
    arm = job.ticket_arm
    if arm.kind == "transfer":
        return _transferred(job)
    if arm.of is None:
        evidence = _Evidence(job)
        groups = _pruned(job, evidence)
        reached = {group: sparsity_of(mask) for group, mask in groups.items()}
        return described(job, groups, arm.sparsity or reached, evidence.told())
    source = job.mask_source
    assert source is not None
    given = given_mask(source)
    asked = given.metadata["sparsity_asked"]
    if arm.kind == "inverted":
        evidence = _Evidence(job)
        return described(job, _inverted(evidence, given.groups), asked, evidence.told())
    groups = given.groups
    if arm.kind in MASK_CONTROLS:
        change, generator = MASK_CONTROLS[arm.kind], streams_of(job).generator("control mask")
        # A group that nothing is pruned of has one mask alone.
        groups = {g: change(mask, generator) if sparsity_of(mask) else mask for g, mask in groups.items()}
    return described(job, groups, asked)


def _transferred(job: Job) -> Mask:
    source = job.mask_source
    if source is None:
        where = str(foreign_mask_path(job))
        given = read_mask(foreign_mask_path(job))
    else:
        given, where = given_mask(source), source.label
    initial = initial_kernels(job)
    for group, layers in given.groups.items():
        with naming(f"The mask of {where} doesn't fit {job.label}. {group}"):
            check_shapes(layers, initial[group])
    return described(job, given.groups, given.metadata["sparsity_asked"])


def _pruned(job: Job, evidence: "_Evidence") -> Groups:
    arm = job.ticket_arm
    recipe, criterion = arm.recipe, arm.criterion
    assert criterion is not None
    within = read_mask(job.scored.files.mask).groups if arm.scored is not None else None
    asked = _asked(arm)

    def pruned(shares: dict[str, Any], scores: dict[str, Scores], within: Groups | None) -> Groups:
        return {
            group: prune(
                scores[group],
                shares[group],
                allocation=recipe.rule,
                floor=recipe.floor,
                structure=recipe.structure,
                within=None if within is None else within[group],
                group=group,
            )
            for group in ("actor", "critic")
        }

    groups = within
    for turn in range(1, criterion.iterations + 1):
        # Tanaka et al. 2020: the surviving share falls by the same factor in each turn.
        shares = asked if criterion.iterations == 1 else _part_of(asked, turn / criterion.iterations)
        groups = pruned(shares, evidence.scores(groups if criterion.iterations > 1 else None), groups)
    assert groups is not None
    return groups


def _inverted(evidence: "_Evidence", given: Groups) -> Groups:
    scores = evidence.scores(None)
    return {g: invert(scores[g], mask) if sparsity_of(mask) else mask for g, mask in given.items()}


class _Evidence:
    """Scores of a job's agent, and what they were made of.

    Attributes:
        resample: () for the batches that the mask itself is made from, or the number of another draw.
    """

    resample: tuple[int, ...] = ()

    def __init__(self, job: Job) -> None:
        self._job, self._arm = job, job.ticket_arm.scoring
        criterion = self._arm.criterion
        assert criterion is not None
        self._criterion: Criterion = criterion
        self._needed = evidence_for(criterion, self._arm.recipe.estimator)
        self._loaded: dict[Callable[[Job], Transitions], Transitions] = {}

    def scores(self, masks: Groups | None) -> dict[str, Scores]:
        """By group; of the weights that `masks` leaves, if given."""
        gathered: Statistics = {"actor": {}, "critic": {}}
        if self._needed.trained:
            found = self._gather(self._trained, self._needed.trained, "", dense_replay)
            self._add(gathered, found)
        if self._needed.initial:
            state = self._initial
            if masks is not None:
                state = ALGORITHM.with_masks(state, nest_masks(masks))
            found = self._gather(state, self._needed.initial, "initial ", warmup_replay)
            self._add(gathered, as_initial(found))
        estimator = self._arm.recipe.estimator
        name = self._arm.recipe.criterion or ""
        scores = {}
        for group, evidence in gathered.items():
            with naming(group):
                scores[group] = score(name, evidence, estimator=estimator)
        return scores

    def told(self) -> dict[str, Any] | None:
        """Batches, their size, and each group's loss; None where no data was read."""
        if not self._criterion.needs_data:
            return None
        return {
            "batches": self._arm.recipe.batches,
            "batch_size": self._arm.recipe.batch_size,
            "loss": dict(ALGORITHM.description.losses),
        }

    @cached_property
    def _trained(self) -> Any:
        return saved_agent(self._job.scored, self._job.scored.files.agent)

    @cached_property
    def _initial(self) -> Any:
        return ALGORITHM.init(initial_weights(self._job), jax_key(0), settings_of(self._job))

    def _gather(
        self, state: Any, names: tuple[str, ...], prefix: str, stored: Callable[[Job], Transitions]
    ) -> Statistics:
        # Of the arm that scores: an inverted control ranks by the ticket's own scores, batch for batch.
        streams, recipe = streams_of(replace(self._job, arm=self._arm)), self._arm.recipe
        data: dict[str, Any] = {}
        if ESTIMATES.keys() & set(names):
            data = {
                "stored": self._stored(stored),
                "key": jax_key(streams.for_purpose(f"{prefix}saliency noise", *self.resample)),
                "generator": np.random.default_rng(streams.for_purpose(f"{prefix}saliency batches", *self.resample)),
                "batches": recipe.batches,
                "batch_size": recipe.batch_size,
            }
        uniform = streams.generator("random scores")
        return gather_statistics(ALGORITHM, settings_of(self._job), state, names, uniform=uniform, **data)

    def _stored(self, load: Callable[[Job], Transitions]) -> Transitions:
        if load not in self._loaded:
            self._loaded[load] = load(self._job)
        return self._loaded[load]

    @staticmethod
    def _add(to: Statistics, more: Statistics) -> None:
        for group, evidence in more.items():
            to[group] |= evidence


def _asked(arm: Arm) -> dict[str, Any]:
    """Sparsity by group, or by layer of each group."""
    layers = arm.recipe.given_layers
    if layers is not None:
        return {"actor": layers.actor, "critic": layers.critic}
    assert arm.sparsity is not None
    return arm.sparsity


def _part_of(asked: dict[str, Any], part: float) -> dict[str, Any]:
    """The sparsities on the way, after `part` of all turns; exactly what was asked after the last."""

    def share(sparsity: float) -> float:
        return sparsity if part == 1 else 1 - (1 - sparsity) ** part

    return {g: share(s) if isinstance(s, float) else tuple(map(share, s)) for g, s in asked.items()}
