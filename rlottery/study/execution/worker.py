"""A worker process: ``python -m rlottery.study.execution.worker``, with its jobs as JSON on standard input.

Several jobs are runs that train as one program; each has a thread (`rlottery.study.execution.worker_threads`).

The process that starts the worker sets its environment. The worker pins itself to its core before it imports JAX. It
stops at SIGTERM, and when the process that started it has died: it saves a checkpoint at the end of the training
episode and ends. If that takes too long, it ends without one.
"""

import atexit
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from typing import Any, NoReturn

from rlottery.config import Config, config_to_dict
from rlottery.errors import RlotteryError, StoppedError
from rlottery.storage.disk import FULL
from rlottery.storage.locks import hold
from rlottery.study.execution.cores import pin
from rlottery.study.execution.endings import DISK_FULL, FAILED, STOPPED
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import Job

PARENT_SECONDS = 1.0
"""How often to check that the parent process is alive."""
SAVE_SECONDS = 20.0
"""How long a worker that is asked to stop may take to reach a checkpoint. Slurm kills 30 seconds after its warning."""
AGAIN_SECONDS = 1.0
"""How often to try to end after that."""


def encode(jobs: Sequence[Job], core: int | None) -> str:
    """What a worker reads on standard input: jobs of one study, and the core to pin itself to."""
    sent = [
        {"stage": job.stage, "task_index": job.task_index, "seed": job.seed}
        | {"arm": job.arm and job.arm.name, "method": job.arm and job.arm.method}
        for job in jobs
    ]
    config = config_to_dict(jobs[0].config)
    return json.dumps({"config": config, "jobs": sent, "core": core, "parent": os.getpid()})


def _decode(message: Any) -> list[Job]:
    config, jobs = Config.model_validate(message["config"]), []
    for sent in message["jobs"]:
        arms = {arm.name: arm for arm in arms_of(config, sent["method"])} if sent["arm"] else {}
        jobs.append(Job(config, sent["stage"], sent["task_index"], sent["seed"], arms.get(sent["arm"])))
    return jobs


def run_worker() -> int:
    """Do the jobs on standard input. Returns the process's exit code."""
    stop = stop_at_sigterm()
    message = json.loads(sys.stdin.read())
    Thread(target=_stop_without, args=[message["parent"]], daemon=True).start()
    pin(message["core"])
    jobs = _decode(message)
    import jax

    # On one core, a second thread for dispatch only costs time.
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    work = partial(attempt, parent=message["parent"], stop=stop)
    if len(jobs) == 1:
        from rlottery.training.learner import CpuLearner

        code = work(jobs[0], CpuLearner)
    else:
        from rlottery.study.execution.worker_threads import run_together

        code = run_together(jobs, work)
    if code == DISK_FULL:
        # End at once: threads that still have something to write would wait forever.
        os._exit(DISK_FULL)
    return code


def attempt(job: Job, make_learner: Callable[..., Any], *, parent: int, stop: Event) -> int:
    """Do a job. Returns its exit code; an error message is the last thing in its log."""
    import jax

    from rlottery.study.stages.run_stage import run_stage

    try:
        if job.config.device == "cuda" and jax.default_backend() != "gpu":
            raise RlotteryError(
                "The config has device: cuda, but JAX finds no NVIDIA GPU. Install JAX with CUDA "
                "(pip install 'jax[cuda12]', or uv sync --extra cuda12), or set device: cpu."
            )
        with hold(job.files, parent):
            run_stage(job, stop.is_set, make_learner)
    except RlotteryError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except StoppedError as stopped:
        print(stopped)
        return STOPPED
    except OSError as error:
        if error.errno not in FULL:
            raise
        with contextlib.suppress(OSError):
            print(f"error: {error}", file=sys.stderr, flush=True)
        return DISK_FULL
    return 0


def stop_at_sigterm() -> Event:
    """An event that SIGTERM sets.

    After another `SAVE_SECONDS` the process ends by an exception, so that half-written files are removed.
    """
    stop = Event()

    def handle(number: int, frame: object) -> None:
        if not stop.is_set():
            stop.set()
            signal.setitimer(signal.ITIMER_REAL, SAVE_SECONDS, AGAIN_SECONDS)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGALRM, _end)
    # While the process exits, Python's handlers are gone, and another alarm would kill it.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    return stop


def _end(number: int, frame: object) -> NoReturn:
    # The timer repeats: an exception inside a callback, such as JAX's at garbage collection, is swallowed.
    print("Stopped between two checkpoints: the training episode took too long.", file=sys.stderr)
    sys.exit(STOPPED)


def _stop_without(parent: int) -> None:
    """Stop this process once its parent has died."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_worker())
