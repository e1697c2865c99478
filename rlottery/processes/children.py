"""Python processes that this one starts: their environment, and calls of a function in one.

Code that belongs to the user (environments, their renderers) may end, hang or change the process that runs it. A
command that must survive that calls it in a child.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

from rlottery.errors import RlotteryError, located_text
from rlottery.processes.descendants import MARK, end_families, new_mark
from rlottery.processes.stopping import at_end

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


_JAX_SETTINGS_KEPT = ("CUDA_VISIBLE_DEVICES", "ROCM_VISIBLE_DEVICES", "LOG", "TRACEBACK_FILTERING")
"""What the names of JAX's variables begin with that change no numbers, after ``JAX_``. So do those of its caches."""
_PYTHON_SETTINGS = ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONINSPECT")
"""Variables that turn warnings into errors, remove checks, or keep a process alive."""


END_SECONDS = 1.0
"""How long a child may take to end when it is asked to."""


class ChildError(RlotteryError):
    """A child process gave no answer. The message says how it ended: "exit code 3", "SIGSEGV", ..."""


def python_command(module: str) -> list[str]:
    """The command that runs a module of rlottery in a process of its own.

    The folder that the process starts in isn't searched for modules (-P): a file there could hide one of Python's.
    """
    return [sys.executable, "-P", "-m", module]


def child_environment(device: str = "cpu") -> dict[str, str]:
    """Environment variables of a child. Every library uses one thread, so that results repeat bit for bit.

    Variables that change what JAX computes, such as JAX_ENABLE_X64, are left out. The user's XLA_FLAGS stay, and may
    change the last digits; manifests record them. The variables must be set before the child imports JAX.

    The child imports from the same places as this process, in the same order, because a task of the user's own
    (module:Id) may be in any of them.

    Args:
        device: "cpu", or "cuda" to let JAX choose the accelerator.
    """
    environment = {name: value for name, value in os.environ.items() if _is_harmless(name)}
    environment |= dict.fromkeys(_SINGLE_THREADED, "1")
    environment["PYTHONHASHSEED"] = "0"  # the order of sets, which an environment may draw from
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(place).absolute()) for place in sys.path)  # "" is this folder
    flags = [flag for flag in environment.get("XLA_FLAGS", "").split() if flag != _ONE_THREAD]
    environment["XLA_FLAGS"] = " ".join([*flags, _ONE_THREAD])  # once: JAX finds a kept program by all flags
    if device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    else:
        environment.pop("JAX_PLATFORMS", None)
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # Workers share the accelerator's memory.
    return environment


def _is_harmless(variable: str) -> bool:
    if variable.startswith("JAX_"):
        return "CACHE" in variable or variable.removeprefix("JAX_").startswith(_JAX_SETTINGS_KEPT)
    return variable not in _PYTHON_SETTINGS


def call_in_child(function: str, *arguments: Any, seconds: float, environment: Mapping[str, str] | None = None) -> Any:
    """Call a function of this package in a process of its own, and return what it returns (`ChildCall`).

    Raises as `ChildCall` and its `result`.
    """
    with ChildCall(function, *arguments, seconds=seconds, environment=environment) as call:
        return call.result()


class ChildCall:
    """A call of a function of this package in a process of its own, which starts at once.

    At the end of a `with` statement the process ends, with everything that it has started.

    Args:
        function: ``package.module:name``.
        arguments: of JSON types.
        seconds: how long the call may take.
        environment: the variables of the process; `child_environment` by default.

    Raises:
        OSError: the process can't be started.
    """

    def __init__(
        self, function: str, *arguments: Any, seconds: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self._mark = new_mark()
        self._process = subprocess.Popen(
            python_command("rlottery.processes.children"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=(child_environment() if environment is None else dict(environment)) | {MARK: self._mark},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has already ended: its exit code says how
            self._process.stdin.write(json.dumps([os.getpid(), function, arguments]).encode() + b"\n")
            self._process.stdin.close()
        self._process.stdin = None  # `communicate` leaves it alone
        _running.append(self)

    def result(self) -> Any:
        """What the function returns, of JSON types, once it does.

        Raises:
            RlotteryError: the one that the function raised, of the same class if its message is its only argument.
            ChildError: the function raised something else, or the process ended or took too long.
        """
        late = False
        try:
            answer, _ = self._process.communicate(timeout=max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = True
            self.end()
            answer, _ = self._process.communicate()
        try:
            kind, content = json.loads(answer)
        except ValueError:
            how = f"gave no answer within {self._seconds:g} seconds" if late else ended_by(self._process.returncode)
            raise ChildError(f"its process {how}") from None
        if kind == "error":
            raise _error(*content)
        return content

    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process, if it still runs, and all that it has started."""
        end_families([(self._process, self._mark)], END_SECONDS)
        self._process.wait()
        if self in _running:
            _running.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        if self._process.stdout is not None:
            self._process.stdout.close()


_running: list[ChildCall] = []


@at_end
def end_calls() -> None:
    """End the processes of all calls, with everything that they have started."""
    end_families([(call._process, call._mark) for call in _running], END_SECONDS)


def ended_by(code: int) -> str:
    """How a process ended, in words: "ended with exit code 3", "was killed by SIGSEGV"."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _error(place: str, message: str) -> RlotteryError:
    module, _, name = place.partition(":")
    try:
        error: RlotteryError = getattr(importlib.import_module(module), name)(message)
    except (ImportError, AttributeError, TypeError):
        return ChildError(message)
    return error


def _answer() -> NoReturn:
    """The child: call the function, write what it returns or raises, and end with all that it has started."""
    channel = os.dup(1)
    os.dup2(2, 1)  # what the user's code prints is no answer
    parent, function, arguments = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_without, args=[parent], daemon=True).start()
    left = list[int]()

    def leave(number: int, frame: object) -> NoReturn:
        left.append(number)
        raise SystemExit(number)

    signal.signal(signal.SIGTERM, leave)  # temporary files are removed on the way out
    try:
        module, _, name = function.partition(":")
        answer = ["value", getattr(importlib.import_module(module), name)(*arguments)]
    except RlotteryError as error:
        answer = ["error", [f"{type(error).__module__}:{type(error).__qualname__}", str(error)]]
    except BaseException as error:
        answer = ["error", [f"{__name__}:{ChildError.__name__}", located_text(error)]]
    if not left:
        _write(channel, json.dumps(answer).encode())
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _end_without(parent: int) -> None:
    """End this process once its parent has died."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)


def _write(channel: int, content: bytes) -> None:
    while content:
        content = content[os.write(channel, content) :]


if __name__ == "__main__":
    _answer()
