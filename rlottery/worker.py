"""One job in a process of its own: ``python -m rlottery.worker``, the job as JSON on standard input.

The process that starts it sets its environment; the worker pins itself before it imports JAX. It ends when told to
(SIGTERM), and when the process that started it has gone.
"""

import json
import os
import signal
import sys
import time
from threading import Thread
from typing import NoReturn

from rlottery.config import Config, config_to_dict
from rlottery.errors import RlotteryError
from rlottery.store import hold
from rlottery.study.arms import Arm
from rlottery.study.environment import pin
from rlottery.study.plan import Job

PARENT_SECONDS = 1.0
"""Between two looks at whether the parent is still there."""
AGAIN_SECONDS = 1.0
"""Between two tries to end."""
FAILED = 3
"""Exit code of a job that ended with an error which the user should read; its text is the last line of the log."""


def encode(job: Job, core: int | None) -> str:
    """What a worker reads on standard input."""
    return json.dumps(
        {
            "config": config_to_dict(job.config),
            "stage": job.stage,
            "task_index": job.task_index,
            "seed": job.seed,
            "arm": vars(job.arm),
            "core": core,
        }
    )


def main() -> int:
    end_when_told()
    Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    message = json.loads(sys.stdin.read())
    pin(message["core"])
    job = Job(
        config=Config.model_validate(message["config"]),
        stage=message["stage"],
        task_index=message["task_index"],
        seed=message["seed"],
        arm=Arm(**message["arm"]),
    )
    import jax

    # On one core a second thread that dispatches only costs.
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    from rlottery.study.stages import run_stage

    try:
        if job.config.device == "cuda" and jax.default_backend() != "gpu":
            raise RlotteryError(
                "device is cuda, but JAX finds no NVIDIA GPU here. "
                "Install JAX for it with `uv sync --extra cuda12`, or set device: cpu."
            )
        with hold(job.files):
            run_stage(job)
    except RlotteryError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def end_when_told() -> None:
    """End at SIGTERM by an exception, so that files half-written are removed."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _end)


def _end(number: int, frame: object) -> NoReturn:
    # Once more a little later: what is raised inside a callback, such as JAX's at garbage collection, is swallowed.
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    sys.exit("Told to end.")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
