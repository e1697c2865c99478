"""Doing one job: the stage that it asks for. A stage reads files, writes files, and can be repeated safely.

The dense stage trains the agent that masks are scored on and tickets are compared with. The ticket stage trains a
ticket or a control from the weights and the mask that its recipe asks for.
"""

import time
from collections.abc import Callable

from rlottery.agents.base import to_arrays
from rlottery.agents.description import kernel_shapes, weight_count
from rlottery.envs import OpenEnvironments
from rlottery.errors import StudyError
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import Mask
from rlottery.storage.disk import write_arrays, write_bytes, write_folder
from rlottery.storage.made_with import changes
from rlottery.storage.manifests import RunFacts, find_damage
from rlottery.storage.paths import REPLAY_FILES, RunFiles
from rlottery.storage.syncing import WriteError
from rlottery.storage.temporary_files import remove_leftovers
from rlottery.study.planning.arms import comparable_method
from rlottery.study.planning.earlier import earlier_of, recorded_rewind_steps
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.finished_runs import dense_manifest
from rlottery.study.planning.inputs import expected_ticket_fingerprint, read_ticket_mask
from rlottery.study.planning.jobs import UNTRAINED, Job
from rlottery.study.planning.network_sizes import networks_of, task_spec
from rlottery.study.stages.agents import streams_of, weights_from
from rlottery.study.stages.failed_run import recording_failure
from rlottery.study.stages.faults import Fault, fault_of, with_fix
from rlottery.study.stages.masking import create_mask, describe_mask
from rlottery.study.stages.retraining import train_in_place_or_aside
from rlottery.study.stages.rewind import add_rewind_points
from rlottery.study.stages.run_record import RunResult, record_run
from rlottery.study.stages.sparsity_facts import sparsity_facts
from rlottery.study.stages.starts import Start, start_of
from rlottery.study.stages.train_run import recorded_spaces, save_agent, train_run
from rlottery.study.stages.untrained import evaluate_untrained
from rlottery.study.versions import versions
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.dynamic_sparsity import masks_of
from rlottery.training.learner import CpuLearner, Learner


def run_stage(
    job: Job,
    stop_wanted: Callable[[], bool] = lambda: False,
    make_learner: Callable[..., Learner] = CpuLearner,
    environments: OpenEnvironments | None = None,
) -> None:
    """Do one job.

    Args:
        stop_wanted: called after each training episode; if it returns True, the run saves a checkpoint and stops.
        make_learner: makes the learner of a dense agent or a ticket, from the arguments of `CpuLearner`.
        environments: makes the environments, and closes them later. By default they are closed when the job is done.

    Raises RlotteryError if the job failed (a run's manifest records it), and StoppedError if `stop_wanted`.
    """
    if environments is None:
        with OpenEnvironments() as environments:
            run_stage(job, stop_wanted, make_learner, environments)
        return
    try:
        _do(job, stop_wanted, make_learner, environments)
    except WriteError as error:
        if fault_of(error, job.config.data) is Fault.DISK_FULL:
            raise
        raise StudyError(with_fix(str(error), error, job.config.data)) from None


def _do(
    job: Job,
    stop_wanted: Callable[[], bool],
    make_learner: Callable[..., Learner],
    environments: OpenEnvironments,
) -> None:
    # A worker that was killed a moment ago may have left them, and a replay buffer is large.
    files = (job.files, job.files.aside)
    remove_leftovers([*(one.folder for one in files), *(one.checkpoint for one in files)], time.time())
    if job.stage == "dense":
        train_dense(job, stop_wanted, make_learner, environments)
    elif job.stage == UNTRAINED:
        evaluate_untrained(job, stop_wanted, environments)
    elif job.stage == "rewind":
        add_rewind_points(job, stop_wanted, environments)
    elif job.stage == "mask":
        remove_leftovers([job.mask_path.parent], time.time())
        with recording_failure(job):
            create_mask(job)
    else:
        train_ticket(job, stop_wanted, make_learner, environments)


def train_dense(
    job: Job,
    stop_wanted: Callable[[], bool],
    make_learner: Callable[..., Learner],
    environments: OpenEnvironments,
) -> None:
    """Train the dense agent. Saves its initial weights, the agent, its metrics, replay buffer and rewind points."""
    weights = weights_from(job, streams_of(job).for_weights())
    fingerprint = dense_fingerprint(job.config, job.task, job.seed)
    # Also what an earlier run saved for arms that the config no longer lists: it is repaired as the rest is.
    earlier = earlier_of(job)
    start = Start(weights, saves=sorted({*job.config.rewind_steps, *recorded_rewind_steps(earlier)}))

    def train(files: RunFiles) -> None:
        def work(checkpoints: Checkpoints) -> RunResult:
            write_arrays(files.initial, to_arrays(weights))
            loop = train_run(job, files, start, checkpoints, stop_wanted, make_learner, environments)
            write_folder(files.replay, loop.replay.save)
            # An interrupted run may have passed a rewind point that was asked for, or damaged, only later.
            damaged = {error.file.name for error in find_damage(files.folder, checkpoints.points)}
            points = [name for name in checkpoints.points if name not in damaged]
            saved = [name for name in REPLAY_FILES if (files.folder / name).exists()]
            names = (*save_agent(files, loop), files.initial.name, *saved, *points)
            return RunResult(names, {"replay": "saved", "spaces": recorded_spaces(job, environments)})

        record_run(job, files, fingerprint, {}, work)

    train_in_place_or_aside(job, earlier, fingerprint, train)


def train_ticket(
    job: Job,
    stop_wanted: Callable[[], bool],
    make_learner: Callable[..., Learner],
    environments: OpenEnvironments,
) -> None:
    """Train a ticket or a control: an empty buffer, a fresh optimiser, and whatever its recipe starts from."""
    mask, mask_bytes = read_ticket_mask(job) if "mask" in job.ticket_arm.stages else (None, b"")
    start, fingerprint = start_of(job, mask), expected_ticket_fingerprint(job, mask)
    if found := changes(dense_manifest(job).get("versions", {}), versions()):
        print(f"The dense agent was made with other versions: {', '.join(found)}.", flush=True)

    def train(files: RunFiles) -> None:
        def work(checkpoints: Checkpoints) -> RunResult:
            loop = train_run(job, files, start, checkpoints, stop_wanted, make_learner, environments)
            names, spaces = save_agent(files, loop), recorded_spaces(job, environments)
            if job.ticket_arm.recipe.is_dynamic:
                last = describe_mask(job, masks_of(loop.learner.state), job.ticket_arm.sparsity or {})
                write_bytes(files.mask, mask_to_bytes(last))
                return RunResult((*names, files.mask.name), {**sparsity_facts(last), "spaces": spaces})
            if mask is not None:
                write_bytes(files.mask, mask_bytes)
                names = (*names, files.mask.name)
            return RunResult(names, {"spaces": spaces})

        record_run(job, files, fingerprint, _facts(job, mask, start), work)

    train_in_place_or_aside(job, earlier_of(job), fingerprint, train)


def _facts(job: Job, mask: Mask | None, start: Start) -> RunFacts:
    """What the manifest records about a ticket, as far as it is known before training."""
    arm = job.ticket_arm
    facts: RunFacts = {"criterion": arm.criterion_name or arm.kind, "recipe": arm.as_dict()}
    if job.round_of is not None:
        facts["round_of"] = job.round_of
    if (method := comparable_method(arm)) is not None:
        facts["method"] = method
    if mask is not None:
        facts |= {"criterion": mask.metadata["criterion"], **sparsity_facts(mask)}
    if start.network is not None:
        widths, spec = (None, start.network), task_spec(job.task)
        dense, small = (kernel_shapes(networks_of(job.config, job.task, spec, of)) for of in widths)
        # The share of the dense agent's kernel weights that the smaller network saves.
        facts["sparsity"] = {group: 1 - weight_count(small[group]) / weight_count(dense[group]) for group in dense}
    return facts
