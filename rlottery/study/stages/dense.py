"""The dense stage: train the dense agent that masks are scored on and tickets are compared with."""

from collections.abc import Callable

from rlottery.agents.base import to_arrays
from rlottery.storage.disk import write_arrays, write_folder
from rlottery.storage.manifests import find_damage
from rlottery.storage.paths import REPLAY_FILES
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.agents import streams_of, weights_from
from rlottery.study.stages.run_record import RunResult, record_run
from rlottery.study.stages.starts import Start
from rlottery.study.stages.train_run import save_agent, train_run
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.learner import Learner


def train_dense(job: Job, stop_wanted: Callable[[], bool], make_learner: Callable[..., Learner]) -> None:
    """Train the dense agent. Saves its initial weights, the agent, its metrics, replay buffer and rewind points."""
    weights = weights_from(job, streams_of(job).for_weights())
    start = Start(weights, saves=job.config.rewind_steps)

    def work(checkpoints: Checkpoints) -> RunResult:
        write_arrays(job.files.initial, to_arrays(weights))
        loop = train_run(job, start, checkpoints, stop_wanted, make_learner)
        write_folder(job.files.replay, loop.replay.save)
        # An interrupted run may have passed a rewind point that was asked for, or damaged, only later.
        damaged = {error.file.name for error in find_damage(job.files.folder, checkpoints.points)}
        points = [name for name in checkpoints.points if name not in damaged]
        names = (*save_agent(job, loop), job.files.initial.name, *REPLAY_FILES, *points)
        return RunResult(names, {"replay": "saved"})

    record_run(job, dense_fingerprint(job.config, job.task, job.seed), {}, work)
