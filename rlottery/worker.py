"""One job in a process of its own: ``python -m rlottery.worker``, the job as JSON on standard input.

The process that starts it sets its environment; the worker pins itself before it imports JAX.
"""

import json
import sys
from pathlib import Path

from rlottery.config import Config
from rlottery.errors import RlotteryError
from rlottery.study.arms import Arm
from rlottery.study.environment import pin
from rlottery.study.plan import Job

FAILED = 3
"""Exit code of a job that ended with an error which the user should read; its text is the last line of the log."""


def encode(job: Job, core: int | None) -> str:
    """What a worker reads on standard input."""
    return json.dumps(
        {
            "config": job.config.model_dump(mode="json"),
            "stage": job.stage,
            "task_index": job.task_index,
            "seed": job.seed,
            "arm": vars(job.arm),
            "core": core,
        }
    )


def main() -> int:
    message = json.loads(sys.stdin.read())
    pin(message["core"])
    sys.path.insert(0, str(Path.cwd()))  # for tasks of the user's own, as module:Id
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
        run_stage(job)
    except RlotteryError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
