"""The rewind stage: agents at the steps that arms rewind to, for a dense run that was finished without them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlottery.envs import OpenEnvironments
from rlottery.errors import StoppedError, StudyError
from rlottery.storage.made_with import changes
from rlottery.storage.manifests import FileEntry, write_manifest
from rlottery.storage.metrics_log import WALL_CLOCK, MetricsRow, read_metrics
from rlottery.storage.progress import ProgressFile
from rlottery.study.planning.finished_runs import dense_manifest, missing_rewind_points
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.versions_now import code_versions
from rlottery.study.stages.agents import streams_of, weights_from
from rlottery.study.stages.starts import Start
from rlottery.study.stages.train_run import RunRecorder, environment_maker, first_loop, training_plan
from rlottery.study.versions import versions
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import train
from rlottery.training.rewind_points import RewindPoints


def add_rewind_points(job: Job, stop_wanted: Callable[[], bool], environments: OpenEnvironments) -> None:
    """Save the agents that arms rewind to and that the finished dense run has not saved.

    The dense agent is trained again up to the last of these steps. Its metrics must equal those of the finished run:
    if this machine computes other numbers, no file is kept and StudyError is raised. A stop raises StoppedError, and
    the stage restarts from step 0 next time.
    """
    finished = dense_manifest(job)
    steps = missing_rewind_points(job, finished)
    if not steps:
        return
    rows, added = _train_again(job, steps, stop_wanted, environments)
    # At the step where training stops there may be additional rows, as at the end of every run.
    if not _timeless(read_metrics(job.files.metrics), max(steps)).items() <= _timeless(rows, max(steps)).items():
        for step in steps:
            job.files.rewind_point(step).unlink(missing_ok=True)
        found = changes(finished.get("versions", {}), versions() | code_versions(job.task))
        with_others = f"It was made with other versions: {', '.join(found)}. Restore them, or work in another folder"
        raise StudyError(
            f"{job.dense.label} can't be rewound to step {max(steps):,}: training it again on this machine gives other "
            "numbers than its metrics have. "
            + (with_others if found else "Work on the machine that trained it, or in another folder")
            + " with data=ANOTHER_FOLDER."
        )
    write_manifest(job.files, {**finished, "files": {**finished["files"], **added}})


def _train_again(
    job: Job, steps: Sequence[int], stop_wanted: Callable[[], bool], environments: OpenEnvironments
) -> tuple[list[MetricsRow], dict[str, FileEntry]]:
    """Train the dense agent up to the last of `steps`, saving it at each. Returns its metrics and the saved files."""
    start, last = Start(weights_from(job, streams_of(job).for_weights()), saves=steps), max(steps)
    # Only the end changes: the buffer's size and everything else follow from the settings of the whole run.
    plan = replace(training_plan(job, start), stop_at=last)
    loop = first_loop(job, start, plan, CpuLearner)
    rows: list[MetricsRow] = []
    added: dict[str, FileEntry] = {}
    progress = ProgressFile(job.files.progress, last)
    recorder, rewind_points = RunRecorder(rows.append, progress), RewindPoints(job.files, steps, added)
    try:
        for _ in train(loop, plan, environment_maker(job, environments), recorder, rewind_points):
            if stop_wanted():
                raise StoppedError(f"Stopped at environment step {loop.env_steps:,} of {last:,}.")
    finally:
        progress.remove()
    return rows, added


def _timeless(rows: Iterable[Mapping[str, Any]], last: int) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows up to step `last` by kind and step, without their fields of wall-clock time.

    Those that say what an agent is like are left out: NumPy may round their sums differently on another machine.
    """
    kept = [row for row in rows if row["env_steps"] <= last and row["kind"] != "agent"]
    return {(row["kind"], row["env_steps"]): {key: row[key] for key in row.keys() - WALL_CLOCK} for row in kept}
