"""A job in a process of its own: ``python -m rlottery.study.execution.worker``, the job as JSON on standard input.

Of several jobs, runs that train as one program, each has a thread (`rlottery.study.execution.worker_threads`).

The process that starts it sets its environment; the worker pins itself before it imports JAX. When told to end
(SIGTERM), and when the process that started it has gone, it saves a checkpoint at the end of the training episode under
way and ends; without one, if that takes too long.
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
from rlottery.study.execution.environment import pin
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import Job

PARENT_SECONDS = 1.0
"""Between two looks at whether the parent is still there."""
SAVE_SECONDS = 20.0
"""To reach a checkpoint in, once told to end; Slurm kills 30 seconds after its warning."""
AGAIN_SECONDS = 1.0
"""Between two tries to end."""
FAILED = 3
"""Exit code of a job that ended with an error which the user should read; its text is the last line of the log."""
STOPPED = 4
"""Exit code of a job that ended because it was told to."""
DISK_FULL = 5
"""Exit code of a job that could not write; its log may lack the words for it."""


def encode(jobs: Sequence[Job], core: int | None) -> str:
    """What a worker reads on standard input: jobs of one study."""
    return json.dumps(
        {
            "config": config_to_dict(jobs[0].config),
            "jobs": [
                {
                    "stage": job.stage,
                    "task_index": job.task_index,
                    "seed": job.seed,
                    "arm": job.arm and job.arm.name,
                    "method": job.arm and job.arm.method,
                }
                for job in jobs
            ],
            "core": core,
            "parent": os.getpid(),
        }
    )


def _decode(message: Any) -> list[Job]:
    config, jobs = Config.model_validate(message["config"]), []
    for told in message["jobs"]:
        arms = {arm.name: arm for arm in arms_of(config, told["method"])} if told["arm"] else {}
        jobs.append(Job(config, told["stage"], told["task_index"], told["seed"], arms.get(told["arm"])))
    return jobs


def run_worker() -> int:
    told = end_when_told()
    message = json.loads(sys.stdin.read())
    Thread(target=_end_with, args=[message["parent"]], daemon=True).start()
    pin(message["core"])
    jobs = _decode(message)
    import jax

    # On one core a second thread that dispatches only costs.
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    work = partial(attempt, parent=message["parent"], told=told)
    if len(jobs) == 1:
        from rlottery.training.learner import CpuLearner

        code = work(jobs[0], CpuLearner)
    else:
        from rlottery.study.execution.worker_threads import run_together

        code = run_together(jobs, work)
    if code == DISK_FULL:
        # At once: threads that still have something to write would wait for ever.
        os._exit(DISK_FULL)
    return code


def attempt(job: Job, make_learner: Callable[..., Any], *, parent: int, told: Event) -> int:
    """Do a job; its exit code. What went wrong is the last line of its log."""
    import jax

    from rlottery.study.stages.stages import run_stage

    try:
        if job.config.device == "cuda" and jax.default_backend() != "gpu":
            raise RlotteryError(
                "device is cuda, but JAX finds no NVIDIA GPU. "
                "Install JAX for it (pip install 'jax[cuda12]', or uv sync --extra cuda12), or set device: cpu."
            )
        with hold(job.files, parent):
            run_stage(job, told.is_set, make_learner)
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


def end_when_told() -> Event:
    """At SIGTERM, set the event; after GRACE_SECONDS end by an exception, so that files half-written are removed."""
    told = Event()

    def note(number: int, frame: object) -> None:
        if not told.is_set():
            told.set()
            signal.setitimer(signal.ITIMER_REAL, SAVE_SECONDS, AGAIN_SECONDS)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGALRM, _end)
    # Once the process is on its way out, the next alarm would meet Python's handlers gone, and kill it.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    return told


def _end(number: int, frame: object) -> NoReturn:
    # The timer comes again: what is raised inside a callback, such as JAX's at garbage collection, is swallowed.
    print("Told to end, and ended between two checkpoints.", file=sys.stderr)
    sys.exit(STOPPED)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_worker())
