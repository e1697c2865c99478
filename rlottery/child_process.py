"""Python processes that this one starts: their environment, and calls of a function in one.

Code that belongs to the user (environments, their renderers) may end, hang or change the process that runs it. A
command that must survive that calls it in a child.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from rlottery.descendants import MARK, kill_family, new_mark
from rlottery.errors import RlotteryError, error_text

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


_JAX_SETTINGS_KEPT = ("CUDA_VISIBLE_DEVICES", "ROCM_VISIBLE_DEVICES", "LOG", "TRACEBACK_FILTERING")
"""What the names of JAX's variables begin with that change no numbers, after ``JAX_``. So do those of its caches."""
_PYTHON_SETTINGS = ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONINSPECT")
"""Variables that turn warnings into errors, remove checks, or keep a process alive."""


class ChildError(RlotteryError):
    """A child process gave no answer. The message says how it ended: "exit code 3", "SIGSEGV", ..."""


def python_command(module: str) -> list[str]:
    """The command that runs a module of rlottery in a process of its own.

    The folder that the process starts in isn't searched for modules (-P): a file there could hide one of Python's.
    """
    return [sys.executable, "-P", "-m", module]


def child_environment(device: str = "cpu") -> dict[str, str]:
    """Environment variables of a child. Every library uses one thread, so that results repeat bit for bit.

    Variables that change what JAX computes, such as JAX_ENABLE_X64, are left out: what a study computes depends on its
    config, not on who runs it. The variables must be set before the child imports JAX.

    The child imports from the same places as this process, in the same order, because a task of the user's own
    (module:Id) may be in any of them.

    Args:
        device: "cpu", or "cuda" to let JAX choose the accelerator.
    """
    environment = {name: value for name, value in os.environ.items() if _is_harmless(name)}
    environment |= dict.fromkeys(_SINGLE_THREADED, "1")
    environment["PYTHONHASHSEED"] = "0"  # the order of sets, which an environment may draw from
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(place).absolute()) for place in sys.path)  # "" is this folder
    flags = environment.get("XLA_FLAGS", "")
    environment["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
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
    """Call a function of this package in a process of its own, which ends with everything that it has started.

    Args:
        function: ``package.module:name``.
        arguments: of JSON types.
        seconds: how long the call may take.
        environment: the variables of the process; `child_environment` by default.

    Returns:
        What the function returns, of JSON types.

    Raises:
        RlotteryError: the one that the function raised, of the same class if its message is its only argument.
        ChildError: the function raised something else, or the process ended or took too long.
        OSError: the process can't be started.
    """
    mark = new_mark()
    process = subprocess.Popen(
        [*python_command("rlottery.child_process"), function, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=(child_environment() if environment is None else dict(environment)) | {MARK: mark},
        start_new_session=True,
    )
    late = False
    try:
        try:
            answer, _ = process.communicate(json.dumps(arguments).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            late = True
            kill_family(process.pid, mark)
            answer, _ = process.communicate()
    finally:
        kill_family(process.pid, mark)
        process.wait()
    try:
        kind, content = json.loads(answer)
    except ValueError:
        how = f"gave no answer within {seconds:g} seconds" if late else ended_by(process.returncode)
        raise ChildError(f"its process {how}") from None
    if kind == "error":
        raise _error(*content)
    return content


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
    _, function, seconds = sys.argv
    del sys.argv[1:]  # nor are these arguments of the user's code
    watch = threading.Timer(float(seconds) + 1, os._exit, [1])  # if the caller has died
    watch.daemon = True
    watch.start()
    arguments = json.loads(sys.stdin.read())
    try:
        module, _, name = function.partition(":")
        answer = ["value", getattr(importlib.import_module(module), name)(*arguments)]
    except RlotteryError as error:
        answer = ["error", [f"{type(error).__module__}:{type(error).__qualname__}", str(error)]]
    except BaseException as error:
        answer = ["error", [f"{__name__}:{ChildError.__name__}", error_text(error)]]
    _write(channel, json.dumps(answer).encode())
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _write(channel: int, content: bytes) -> None:
    while content:
        content = content[os.write(channel, content) :]


if __name__ == "__main__":
    _answer()
