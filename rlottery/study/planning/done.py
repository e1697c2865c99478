"""Whether a job is done: its files exist, are intact, and are what the config and the job's inputs ask for.

Everything that can be wrong with the config or the files is found here, before any work starts. Nothing here imports
JAX.
"""

import contextlib
from collections.abc import Collection
from dataclasses import replace

from rlottery.errors import MaskError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Mask
from rlottery.storage.checkpoint_record import checkpoint_to_continue, other_config_error
from rlottery.storage.manifests import DamagedError, Manifest
from rlottery.study.planning import finished_runs
from rlottery.study.planning.earlier import check_aside
from rlottery.study.planning.earlier_masks import check_nothing_needs_old_mask
from rlottery.study.planning.fingerprints import (
    Fingerprint,
    dense_fingerprint,
    differing_keys,
    mask_fingerprint,
    ticket_fingerprint,
)
from rlottery.study.planning.inputs import mask_in, own_mask, read_mask_file, read_ticket_mask, ticket_inputs
from rlottery.study.planning.jobs import UNTRAINED, Job, Key
from rlottery.study.planning.untrained import untrained_is_done


def is_done(job: Job, pending: Collection[Key] = ()) -> bool:
    """Whether the job's files exist, are intact by their checksums, and are what its config and its inputs ask for.

    Args:
        pending: jobs that this one needs and that are still to do. Their files can't be compared yet.

    Raises:
        DivergedRunError: the run has ended by diverging.
        StudyError: the files were made by another config, or an input is missing that no job will make.
        MaskError: a mask can't be read or used.
    """
    if job.stage == UNTRAINED:
        return untrained_is_done(job)
    if job.stage == "dense":
        asked = dense_fingerprint(job.config, job.task, job.seed)
        if (imported := finished_runs.imported_manifest(job)) is not None:
            finished_runs.check_same_study(job.files, imported, asked)
            finished_runs.check_imported_is_intact(job.files, imported)
            return True
        manifest = _intact_manifest(job, asked)
        if manifest is None:
            return False
        released = manifest.get("replay") == "released"
        if finished_runs.has_replay(job, manifest) or (released and not job.config.keep_replay):
            return True
        check_aside(job, asked)
        return False
    if job.stage == "rewind":
        if pending:
            return False
        missing = finished_runs.missing_rewind_points(job, finished_runs.dense_manifest(job))
        if missing and finished_runs.imported_manifest(job.dense) is not None:
            raise StudyError(
                f"{job.dense.label} was imported, and no agent at step {missing[0]:,} of its training is known. Arms "
                "can be rewound to its initial weights, `rewind: initial`, or not at all, `rewind: none`."
            )
        return not missing
    if job.stage == "mask":
        return _mask_is_done(job, pending)
    inputs = _known_ticket_inputs(job, pending)
    asked = ticket_fingerprint(job.config, job.task, job.seed, job.ticket_arm, inputs)
    return _intact_manifest(job, asked) is not None and inputs is not None


def _mask_is_done(job: Job, pending: Collection[Key]) -> bool:
    _check_same_recipe(job)
    if pending:
        return False
    manifest = finished_runs.dense_manifest(job)
    own = own_mask(job)
    if own is None:
        check_nothing_needs_old_mask(job)
    else:
        # The file under the method's name may hold the mask of another arm of that method. Then it is copied again.
        with contextlib.suppress(MaskError):
            return job.mask_path == job.files.mask or read_mask(job.mask_path).metadata == own.metadata
        return False
    if job.ticket_arm.needs_replay and not finished_runs.has_replay(job, manifest):
        raise _no_replay_error(job, manifest)
    return False


def _known_ticket_inputs(job: Job, pending: Collection[Key]) -> dict[str, str] | None:
    """Digests of what a ticket starts from, or None while a pending job may still change them."""
    if "mask" not in job.ticket_arm.stages:
        return None if pending else ticket_inputs(job, None)
    made_by = replace(job, stage="mask").key
    mask: Mask | None = None
    if not pending:
        mask, _ = read_ticket_mask(job)
    elif made_by not in pending:
        read_mask_file(job)  # No job will make the mask, so report a missing one before the dense agent is trained.
    elif set(pending) == {made_by}:
        mask = own_mask(job)
    return None if mask is None else ticket_inputs(job, mask)


def _intact_manifest(job: Job, asked: Fingerprint) -> Manifest | None:
    """The manifest of the job's finished run, or None if there is no such run or some of its files are damaged.

    Raises StudyError if the run, finished or not, has another config. Lists each difference.
    """
    with contextlib.suppress(DamagedError):
        manifest = finished_runs.ended_manifest(job.files)
        if manifest is not None:
            finished_runs.check_same_study(job.files, manifest, asked)
            if not finished_runs.damage_of_run(job.files, manifest):
                finished_runs.check_converged(job.files, manifest)
                return manifest
    check_aside(job, asked)
    found = checkpoint_to_continue(job.files)
    if found is not None and (differences := differing_keys(asked, found.record["fingerprint"])):
        raise other_config_error(found.files, differences)
    return None


def _check_same_recipe(job: Job) -> None:
    """Raises StudyError if the arm's folder holds a run whose mask has another recipe. Lists each difference."""
    try:
        manifest, (mask, _) = finished_runs.ended_manifest(job.files), mask_in(job.files.mask)
    except (DamagedError, MaskError):
        return
    if manifest is None:
        return
    asked = mask_fingerprint(job.ticket_arm, job.seed, None)
    if differences := differing_keys(asked, mask.metadata["fingerprint"]):
        listed = "\n  ".join(differences)
        raise StudyError(
            f"{job.files.folder} holds a run of another recipe:\n  {listed}\n"
            "Restore the recipe, rename the arm, or delete that folder."
        )


def _no_replay_error(job: Job, manifest: Manifest) -> StudyError:
    if "imported" in manifest:
        replay = "" if manifest["fingerprint"].get("ppo") else "--replay FILE if you have its replay buffer, or with "
        return StudyError(
            f"Replay buffer not found: {job.dense_files.replay}\n"
            f"Gradient saliency needs transitions, and the dense agent was imported without them. Import it again "
            f"with {replay}--collect STEPS. Or use a criterion that reads only weights, such as magnitude."
        )
    released = " (deleted because of keep_replay: false)" if manifest.get("replay") == "released" else ""
    keep = "Set keep_replay: true. " if released else ""
    data = finished_runs.collected_data(manifest["fingerprint"])
    needed = data.split()[-1]
    missing = {"replay buffer": "Replay buffer not found", "rollouts": "Rollouts not found"}[data]
    return StudyError(
        f"{missing}{released}: {job.dense_files.replay}\n"
        f"Gradient saliency needs the {needed} that dense training saves. {keep}Train the dense agent again:\n"
        "  main(train_agent=True, create_ticket=False, run_ticket=False)\n"
        "or this command with: --stages dense"
    )
