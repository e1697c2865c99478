"""How stable masks are that were scored on batches of replay: masks from other batches, against each other."""

from collections.abc import Callable, Iterator
from itertools import combinations

from rlottery.analysis.mask_overlap import mean_overlap, pack
from rlottery.analysis.stability import Stability, read_stability, write_stability
from rlottery.config import Config
from rlottery.config.recipes import ROUND
from rlottery.errors import MaskError, RlotteryError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.paths import Store, replay_is_saved
from rlottery.study.planning.arms import METHODS, Arm, arm_for, arms_of
from rlottery.study.planning.inputs import own_mask
from rlottery.study.planning.jobs import Job, list_jobs
from rlottery.study.stages.masking import Resampling

FEWEST = 2
"""Resamples that have a pair."""


def measure_stability(config: Config, resamples: int, say: Callable[[str], None]) -> None:
    """Measure, and keep beside each mask, how alike masks are that are made from independent draws of its batches.

    Done for every arm of the config whose criterion reads replay, for each task and seed that has its mask. The same
    agent is scored each time, with fresh batches of the same replay and fresh noise. What was measured already of the
    mask that is there, with as many resamples, is not measured again.

    Args:
        resamples: masks to make for each one; each takes as long as making the mask did.
        say: is told what was measured, and what was left out and why, a line each.

    Raises:
        RlotteryError: too few resamples.
        StudyError: the data folder has a link that leads out of it.
    """
    if resamples < FEWEST:
        raise RlotteryError(f"Stability takes at least {FEWEST} resamples to compare, not {resamples}: --stability 5")
    Store(config.data).check_links()
    for job in _measurable(config):
        try:
            _measure(job, resamples, say)
        except (MaskError, StudyError) as error:
            say(f"{job.label}: left out. {error}")


def _measurable(config: Config) -> Iterator[Job]:
    """The mask jobs of a study whose masks depend on batches, and are there."""
    # Rounds on the way to an arm are no arms of their own.
    arms = [arm for arm in _arms(config) if arm.needs_replay and ROUND not in arm.name]
    return (job for job in list_jobs(config, arms, ("mask",)) if job.files.mask.exists())


def _arms(config: Config) -> list[Arm]:
    """All arms of the config; of a config that lists none, those of both methods."""
    return arms_of(config, None) if config.arms else [arm_for(method, config.pruning) for method in METHODS]


def _measure(job: Job, resamples: int, say: Callable[[str], None]) -> None:
    digest = read_mask(job.files.mask).metadata["digest"]
    try:
        known = read_stability(job.files, digest)
    except StudyError:
        known = None  # damaged: it is written anew
    if known is not None and known.resamples >= resamples:
        say(_told(job, known, "measured before"))
        return
    if not replay_is_saved(job.dense_files):
        say(
            f"{job.label}: left out. Its replay buffer is not there: {job.dense_files.replay} "
            "(keep_replay: true keeps it from the next training of the dense agent on)."
        )
        return
    if own_mask(job) is None:
        say(f"{job.label}: left out. Its mask was made from something else than what is there now.")
        return
    drawn = Resampling(job)
    masks = [
        pack(
            {f"{group}.{path}": layer for group, layers in drawn.draw(index).items() for path, layer in layers.items()}
        )
        for index in range(resamples)
    ]
    found = mean_overlap(combinations(masks, 2))
    assert found is not None  # masks of one agent have equal shapes
    measured = Stability(digest, resamples, found[1].jaccard, found[1].chance)
    write_stability(job.files, measured)
    say(_told(job, measured, "measured"))


def _told(job: Job, found: Stability, how: str) -> str:
    return (
        f"{job.label}: masks from {found.resamples} draws of the batches overlap by {found.jaccard:.2f} "
        f"(chance: {found.chance:.2f}), {how}"
    )
