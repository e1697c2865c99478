"""The stability of masks that are scored on batches of replay: how much masks from other batches overlap."""

from collections.abc import Callable

from rlottery.analysis.mask_overlap import overlap_within, pack
from rlottery.analysis.stability import Stability, read_stability, write_stability
from rlottery.config import Config, import_criteria
from rlottery.config.built_in import METHODS
from rlottery.config.recipes import ROUND
from rlottery.errors import MaskError, RlotteryError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.paths import Store, replay_is_saved
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.finished_runs import collected_data, dense_manifest
from rlottery.study.planning.inputs import own_mask
from rlottery.study.planning.jobs import Job, list_jobs
from rlottery.study.stages.masking import load_scored_agent, select_survivors

FEWEST, MOST = 2, 100
"""At least two masks are needed to compare a pair. All pairs are compared."""


def measure_stability(config: Config, resamples: int, say: Callable[[str], None]) -> None:
    """Measure how much masks that are made from independent draws of batches overlap, and save it next to each mask.

    This is done for each mask in the data folder whose arm's criterion reads replay. The same agent is scored each
    time, with new batches of the same replay and new noise. A mask that was measured before, with at least as many
    resamples, is not measured again.

    Args:
        resamples: how many masks to make for each mask. Each takes as long as making the mask did.
        say: called with a line for each mask that was measured, or skipped and why.

    Runs the config's criteria, and may make its tasks.
    """
    if not FEWEST <= resamples <= MOST:
        raise RlotteryError(f"Stability needs {FEWEST} to {MOST} resamples, not {resamples}. Try: --stability 5")
    Store(config.data).check_links()
    import_criteria(config)
    methods = [None] if config.arms else METHODS
    arms = [arm for method in methods for arm in arms_of(config, method)]
    # The rounds of IMP are not arms of their own.
    arms = [arm for arm in arms if arm.needs_replay and ROUND not in arm.name]
    for job in list_jobs(config, arms, ("mask",)):
        if not job.files.mask.exists():
            continue
        try:
            _measure(job, resamples, say)
        except (MaskError, StudyError) as error:
            say(f"{job.label}: skipped. {error}")


def _measure(job: Job, resamples: int, say: Callable[[str], None]) -> None:
    digest = read_mask(job.files.mask).metadata["digest"]
    try:
        known = read_stability(job.files, digest)
    except StudyError:
        known = None  # damaged, so it is measured again
    if known is not None and known.resamples >= resamples:
        say(_overlap_line(job, known, "measured before"))
        return
    dense = dense_manifest(job)
    if not replay_is_saved(job.dense_files, dense["files"]):
        raise StudyError(
            f"No {collected_data(dense['fingerprint'])} in {job.dense_files.replay}, or not all of it. "
            "Set keep_replay: true to keep it the next time that the dense agent is trained."
        )
    if own_mask(job) is None:
        raise StudyError("Its mask was made from other files than those in the data folder.")
    scored = load_scored_agent(job)
    drawn = (select_survivors(job, scored, index) for index in range(resamples))
    masks = [
        pack({f"{group}.{path}": layer for group, layers in groups.items() for path, layer in layers.items()})
        for groups in drawn
    ]
    found = overlap_within(masks)
    assert found is not None  # masks of one agent have equal shapes
    measured = Stability(digest, resamples, found[1].jaccard, found[1].chance)
    write_stability(job.files, measured)
    say(_overlap_line(job, measured, "measured"))


def _overlap_line(job: Job, found: Stability, how: str) -> str:
    return (
        f"{job.label}: masks from {found.resamples} draws of the batches overlap by {found.jaccard:.2f} "
        f"(chance: {found.chance:.2f}), {how}"
    )
