"""A pinned process that times workloads, and a handle to it.

Its environment and affinity are those of rlottery's workers, set before NumPy and JAX are imported. Requests and
replies are one line of JSON each.
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rlottery.processes.children import child_environment
from rlottery.study.execution.cores import pin


class WorkerError(Exception):
    """A worker ended before it replied. Its error is in the output above, on standard error."""


class Worker:
    """One process on `core` (None for any core). Use it in a `with` statement."""

    def __init__(self, core: int | None):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
            cwd=Path(__file__).parents[1],
        )

    def ask(self, workload: str, **arguments: Any) -> Any:
        """The result of a function of `benchmarks.workloads`, or of another module, as ``module:function``."""
        self.send(workload, **arguments)
        return self.receive()

    def send(self, workload: str, **arguments: Any) -> None:
        """Start a workload without waiting for it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([workload, arguments]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"The worker ended with exit code {self._process.wait()}.") from None

    def receive(self) -> Any:
        """The reply to the earliest request that has none yet."""
        assert self._process.stdout is not None
        reply = self._process.stdout.readline()
        if not reply:
            raise WorkerError(f"The worker ended with exit code {self._process.wait()}.")
        return json.loads(reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.terminate()
        self._process.communicate()


def main() -> None:
    """Serve requests until standard input closes."""
    # Output of libraries must not mix with the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    pin(json.loads(sys.argv[1]))

    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    for line in sys.stdin:
        workload, arguments = json.loads(line)
        module, _, function = workload.rpartition(":")
        call = getattr(import_module(module or "benchmarks.workloads"), function)
        print(json.dumps(call(**arguments)), file=replies, flush=True)


if __name__ == "__main__":
    main()
