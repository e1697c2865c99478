"""The mask stage: a mask from scores, from another arm's mask, or from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.base import jax_key, nest_masks
from rlottery.agents.description import Description
from rlottery.config.recipes import TicketRecipe
from rlottery.errors import MaskError, naming
from rlottery.pruning.criteria import ESTIMATES, Needed, score, statistics_for
from rlottery.pruning.effective import rank_one_share
from rlottery.pruning.mask_file import mask_to_bytes, read_mask, read_mask_bytes
from rlottery.pruning.masks import GroupMask, Mask, check_fits, effective_of, make_mask, sparsity_of
from rlottery.pruning.plain_mask_file import read_any_mask
from rlottery.pruning.prune import prune
from rlottery.pruning.ranking import Scores
from rlottery.pruning.schedule_math import sparsity_after
from rlottery.pruning.starved import starved_layers
from rlottery.pruning.untaught import blind_networks, is_untaught, untaught_in_words
from rlottery.storage.disk import write_bytes
from rlottery.storage.manifests import read_manifest
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.checks import check_every_group
from rlottery.study.planning.earlier_masks import check_nothing_needs_old_mask, check_ticket_has_mask, keep_ticket_of
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
    algorithm_for,
    first_replay,
    initial_weights,
    saved_agent,
    scored_replay,
    settings_of,
    streams_of,
)
from rlottery.training.saliency import Statistics, as_initial, gather_statistics

GroupMasks = dict[str, GroupMask]
LISTED = "listed"
"""The method in the metadata of masks that neither built-in method makes."""


def create_mask(job: Job) -> None:
    """Make the mask in the arm's folder; that of a built-in method or its control is also published under their names.

    Raises MaskError if the mask can't be made, DamagedError if a file of the dense agent is not what was written, and
    StudyError if the arm's ticket, or something else that is finished, was made with another mask, which is kept.
    """
    if own_mask(job) is None:
        check_nothing_needs_old_mask(job)
        try:
            mask = _made(job)
        except MaskError as error:
            if (of := job.ticket_arm.of) is None:
                raise
            what = "mask" if of.root.transfer is not None else "sparsity"
            fix = f"The {what} is set by {of.root.name}: change it there, or leave this arm out."
            raise MaskError(f"{error}\n{fix}") from None
        check_ticket_has_mask(job, mask)
        if read_manifest(job.files) is not None:
            # Only then: what the ticket will start from may not exist yet.
            matching_manifest(job.files, expected_ticket_fingerprint(job, mask))
        write_bytes(job.files.mask, mask_to_bytes(mask))
        keep_ticket_of(job, mask)
        print(_what_it_keeps(mask, algorithm_of(job.config)), flush=True)
    if job.mask_path != job.files.mask:
        write_bytes(job.mask_path, read_mask_bytes(job.files.mask))


def _what_it_keeps(mask: Mask, algorithm: Description) -> str:
    """A line for the log: what each group keeps, how much of it is on a path from input to output, starved layers, and
    whether the actor can't learn."""
    parts = []
    for group, layers in mask.groups.items():
        found = effective_of(layers)
        kept, useful = sum(found.kept.values()), sum(found.useful.values())
        parts.append(
            f"{group} keeps {kept:,} of {found.total:,} weights, {useful:,} of them on a path from input to output "
            f"(effective sparsity {100 * found.sparsity:.1f} %)"
        )
    starved = [f" {group}.{one.in_words}" for group, layers in mask.groups.items() for one in starved_layers(layers)]
    untaught = ""
    if is_untaught(blind_networks(mask.groups, algorithm.acting), algorithm.teachers):
        words = untaught_in_words(algorithm.teachers, algorithm.acting)
        untaught = f" {words[0].upper()}{words[1:]}."
    return f"Mask made: {'; '.join(parts)}.{''.join(starved)}{untaught}"


@dataclass(frozen=True)
class ScoredAgent:
    """What an arm's scores are computed from, loaded once.

    Attributes:
        job: a job of the arm whose recipe says how to score; its RNG streams draw batches and noise.
        needed: the saliency statistics that the criterion reads.
        trained, initial: the agent at its trained and at its initial weights; None if not needed.
        replay, warmup: the replay for either of them; None if no statistic needs data.
    """

    job: Job
    recipe: TicketRecipe
    needed: Needed
    trained: Any
    initial: Any
    replay: Transitions | None
    warmup: Transitions | None


def load_scored_agent(job: Job) -> ScoredAgent:
    """What the job's criterion scores."""
    recipe = job.ticket_arm.scores_by
    assert recipe is not None and recipe.criterion is not None  # nothing else asks for an agent to score
    needed = statistics_for(recipe.criterion, recipe.estimator)
    make = algorithm_for(job).init
    initial = make(initial_weights(job), jax_key(0), settings_of(job)) if needed.initial else None
    return ScoredAgent(
        job=replace(job, arm=job.ticket_arm.scoring),
        recipe=recipe,
        needed=needed,
        trained=saved_agent(job.scored, job.scored.files.agent) if needed.trained else None,
        initial=initial,
        replay=scored_replay(job) if ESTIMATES.keys() & set(needed.trained) else None,
        warmup=first_replay(job) if ESTIMATES.keys() & set(needed.initial) else None,
    )


def select_survivors(job: Job, scored: ScoredAgent, resample: int | None = None) -> GroupMasks:
    """The mask that the job's arm makes from scores.

    Args:
        resample: None for the batches and the noise that the arm's own mask is made from, or the number of another,
            independent draw.
    """
    return _scored_and_selected(job, scored, resample)[1]


def _scored_and_selected(
    job: Job, scored: ScoredAgent, resample: int | None = None
) -> tuple[dict[str, Scores], GroupMasks]:
    """The scores by group (of the last turn, if there are several), and the mask made from them."""
    control, source = job.ticket_arm.control, job.mask_source
    if control is None or source is None:
        return _pruned(job, scored, resample)
    assert control.rank_mask is not None
    scores = _scores(scored, None, resample)
    given = given_mask(source).groups
    # A group in which nothing is pruned has only one mask.
    return scores, {g: control.rank_mask(scores[g], mask) if sparsity_of(mask) else mask for g, mask in given.items()}


def describe_mask(
    job: Job,
    groups: GroupMasks,
    asked: dict[str, float],
    data: dict[str, Any] | None = None,
    scores: Mapping[str, Scores] | None = None,
) -> Mask:
    """The mask of the job's arm with its metadata.

    Args:
        asked: sparsity by group.
        data: what the scores were computed from, if from data: batches, their size, and each group's loss.
        scores: by group, if a criterion scored the weights.
    """
    arm = job.ticket_arm
    estimator = rank_one = None
    if scores is not None:
        rank_one = {g: {path: rank_one_share(of) for path, of in layers.items()} for g, layers in scores.items()}
    if arm.criterion is not None and arm.scores_by is not None:
        estimator = arm.criterion.estimator(arm.scores_by.estimator)
    return make_mask(
        groups,
        task=job.task.id,
        seed=job.seed,
        method=LISTED if arm.method is None or arm.of is not None else arm.method,
        criterion=arm.scoring.criterion_name or arm.kind,
        estimator=estimator,
        sparsity=asked,
        fingerprint=expected_mask_fingerprint(job),
        scored=data,
        rank_one=rank_one,
    )


def _made(job: Job) -> Mask:
    arm, source = job.ticket_arm, job.mask_source
    if arm.transfer is not None:
        return _transferred(job)
    if arm.scores_by is None:
        assert source is not None
        given = given_mask(source)
        drawn = given.groups
        if arm.control is not None and (draw := arm.control.draw_mask) is not None:
            generator = streams_of(job).generator("control mask")
            # A group in which nothing is pruned has only one mask.
            drawn = {group: draw(mask, generator) if sparsity_of(mask) else mask for group, mask in drawn.items()}
        return describe_mask(job, drawn, given.metadata["sparsity_asked"])
    scores, groups = _scored_and_selected(job, load_scored_agent(job))
    if source is not None:
        asked = given_mask(source).metadata["sparsity_asked"]
    else:
        asked = arm.sparsity or {group: sparsity_of(mask) for group, mask in groups.items()}
    data = {
        "batches": arm.scores_by.batches,
        "batch_size": arm.scores_by.batch_size,
        "loss": dict(algorithm_of(job.config).losses),
    }
    return describe_mask(job, groups, asked, data if arm.needs_replay else None, scores)


def _transferred(job: Job) -> Mask:
    if (source := job.mask_source) is None:
        where = str(foreign_mask_path(job))
        given = read_any_mask(foreign_mask_path(job))
    else:
        given, where = given_mask(source), source.label
    initial = initial_kernels(job)
    with naming(f"The mask of {where} doesn't fit {job.label}"):
        check_fits(given, initial)
    with naming(where):
        check_every_group(given)
    groups = {group: given.groups[group] for group in initial}
    return describe_mask(job, groups, given.metadata["sparsity_asked"])


def _pruned(job: Job, scored: ScoredAgent, resample: int | None) -> tuple[dict[str, Scores], GroupMasks]:
    """The mask of a ticket: scores, allocation and selection, in as many turns as the criterion asks for.

    Returns the scores of the last turn too.
    """
    recipe = scored.recipe
    # By group, or by layer of each group.
    given = recipe.allocation.layers or recipe.only_sparsity
    asked: dict[str, Any] = {} if given is None else dict(given.by_group)
    turns = job.ticket_arm.criterion.iterations if job.ticket_arm.criterion is not None else 1
    groups = read_mask(job.scored.files.mask).groups if job.ticket_arm.scored is not None else None
    for turn in range(1, turns + 1):
        shares = asked if turns == 1 else _part_of(asked, turn / turns)
        scores = _scores(scored, groups if turns > 1 else None, resample)
        groups = {
            group: prune(
                of_group,
                shares[group],
                allocation=recipe.rule,
                floor=recipe.floor,
                structure=recipe.structure,
                within=None if groups is None else groups[group],
                twins=job.ticket_arm.twins,
                reclaim=recipe.reclaim and turn == turns,
                group=group,
            )
            for group, of_group in scores.items()
        }
    assert groups is not None
    return scores, groups


def _scores(scored: ScoredAgent, masks: GroupMasks | None, resample: int | None) -> dict[str, Scores]:
    """Scores by group; if `masks` is given, of the initial weights that it leaves."""
    needed = scored.needed
    gathered: dict[str, dict[str, Any]] = {}
    if needed.trained:
        found = _statistics(scored, scored.trained, needed.trained, scored.replay, "", resample)
        gathered = {group: dict(statistics) for group, statistics in found.items()}
    if needed.initial:
        algorithm, state = algorithm_for(scored.job), scored.initial
        if scored.warmup is not None:  # normalised as the first updates see it
            state = algorithm.observe(state, scored.warmup, settings_of(scored.job))
        if masks is not None:
            state = algorithm.with_masks(state, nest_masks(masks))
        found = as_initial(_statistics(scored, state, needed.initial, scored.warmup, "initial ", resample))
        gathered = {group: gathered.get(group, {}) | statistics for group, statistics in found.items()}
    scores = {}
    for group, statistics in gathered.items():
        with naming(group):
            scores[group] = score(scored.recipe.criterion or "", statistics, estimator=scored.recipe.estimator)
    return scores


def _statistics(
    scored: ScoredAgent, state: Any, names: Sequence[str], stored: Transitions | None, prefix: str, resample: int | None
) -> Statistics:
    """Saliency statistics of an agent by group and name; `prefix` distinguishes the random numbers of initial ones."""
    streams = streams_of(scored.job)
    draw = () if resample is None else (resample,)
    data: dict[str, Any] = {}
    if ESTIMATES.keys() & set(names):
        data = {
            "stored": stored,
            "key": jax_key(streams.for_purpose(f"{prefix}saliency noise", *draw)),
            "generator": np.random.default_rng(streams.for_purpose(f"{prefix}saliency batches", *draw)),
            "batches": scored.recipe.batches,
            "batch_size": scored.recipe.batch_size,
        }
    uniform = streams.generator("random scores")
    algorithm, settings = algorithm_for(scored.job), settings_of(scored.job)
    return gather_statistics(algorithm, settings, state, names, uniform=uniform, **data)


def _part_of(asked: Mapping[str, Any], part: float) -> dict[str, Any]:
    """The sparsities after `part` of all turns; exactly the final ones after the last turn."""
    return {
        g: sparsity_after(part, s) if isinstance(s, float) else tuple(sparsity_after(part, each) for each in s)
        for g, s in asked.items()
    }
