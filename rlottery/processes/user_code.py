"""Code of the user that runs in a process of ours: task modules, environments, and criteria.

Such code may try to end the process, and it may change settings that the whole process shares. Here the first becomes
an error, and the second is undone, or refused if undoing it would take away what the code relies on.
"""

import contextlib
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from rlottery.errors import RlotteryError, TaskError, place_of
from rlottery.processes.stopping import SIGNALS, handlers_of, restore

_KEPT_SIGNALS = (*SIGNALS, signal.SIGPIPE)  # which Python ignores, so that a reader that has gone is an error
_JAX_SETTINGS = (
    "jax_enable_x64",
    "jax_explicit_x64_dtypes",
    "jax_default_matmul_precision",
    "jax_allow_f16_reductions",
    "jax_default_device",
    "jax_default_prng_impl",
    "jax_enable_custom_prng",
    "jax_legacy_prng_key",
    "jax_random_seed_offset",
    "jax_threefry_partitionable",
    "jax_threefry_gpu_kernel_lowering",
    "jax_high_dynamic_range_gumbel",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_disable_jit",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
    "jax_no_execution",
    "jax_no_tracing",
    "jax_debug_nans",
    "jax_debug_infs",
    "jax_debug_key_reuse",
    "jax_check_tracer_leaks",
    "jax_enable_checks",
    "jax_transfer_guard_host_to_device",
    "jax_transfer_guard_device_to_device",
    "jax_transfer_guard_device_to_host",
)
"""The settings of JAX that change what training computes, where, how fast, or whether it runs."""
_JAX_DEFAULTS = {
    "jax_default_matmul_precision": None,
    "jax_default_device": None,
    "jax_numpy_rank_promotion": "allow",
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
}
"""What those are in every version of JAX that code changes most often."""
_JAX_PLACES = ("jax_platforms", "jax_platform_name")
"""Those that name a platform. Code may prefer one, such as the CPU; where training runs follows from the config."""
_NO_64_BITS = (
    ", which would change the numbers of training. Remove that line, and compute with 64 bits inside "
    "`with jax.enable_x64(True):`."
)
_VARIABLES = (
    *("JAX_", "XLA_", "TF_XLA_", "TF_CUDNN_", "CUBLAS_", "NVIDIA_TF32_", "CUDA_VISIBLE_", "ROCR_VISIBLE_"),
    *("HIP_VISIBLE_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "NPY_", "PYTHONHASHSEED", "RLOTTERY_"),
)
"""How the names of variables begin that change numbers, or where or by how many threads they are computed."""


@contextlib.contextmanager
def no_exit(what: str, error: type[RlotteryError] = TaskError) -> Iterator[None]:
    """A context in which the attempt to end the process, such as by `sys.exit`, is an error.

    The user's own Ctrl-C is none: its KeyboardInterrupt is raised as it is.

    Args:
        what: what runs, at the start of the message: "the module 'my_task'".

    Raises:
        error: the code inside raised SystemExit, KeyboardInterrupt or another exception that is no Exception.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        if callable(before):
            before(number, frame)

    before = signal.getsignal(signal.SIGINT)
    with _kept_signal_handlers():
        if threading.current_thread() is threading.main_thread() and callable(before):
            signal.signal(signal.SIGINT, interrupt)
        here, status = os.getpid(), 0
        try:
            yield
        except Exception:
            status = 1
            raise
        except BaseException as end:
            status = getattr(end, "code", 1) or 0
            if isinstance(end, KeyboardInterrupt) and (interrupted or end.args[:1] in [(n,) for n in SIGNALS]):
                raise  # `StopSignals`
            raise error(f"{what} {_attempt(end)}") from end
        finally:
            if os.getpid() != here:  # a process that the code has forked, whose end is its own
                os._exit(status if isinstance(status, int) else 1)


@contextlib.contextmanager
def isolated(what: str, error: type[RlotteryError] = TaskError) -> Iterator[None]:
    """A context to import a module of the user's in, or to call a constructor.

    The code inside can't end the process (`no_exit`), not even by `os._exit`, and sees a command line without
    arguments. Signal handlers, filters of warnings and NumPy's error state that it sets don't outlast it, nor do
    variables of the environment that change numbers or the number of threads (`_VARIABLES`). Other variables stay.

    Args:
        what: what runs, at the start of messages.

    Raises:
        error: it tried to end the process, or changed settings of JAX (`check_jax_settings`), also by a variable.
    """
    settings, asked = jax_settings(), _asks_for_64_bits()
    with _kept_variables():
        with no_exit(what, error), _no_immediate_exit(), _no_arguments(), np.errstate(), warnings.catch_warnings():
            yield
        asks = _asks_for_64_bits()
    check_jax_settings(settings, what, error)
    if asks and not asked:
        raise error(f"{what} sets JAX_ENABLE_X64 for the whole process{_NO_64_BITS}")


def jax_settings() -> dict[str, Any]:
    """The settings of JAX that training depends on. If JAX isn't imported: some of those that it will have."""
    config = getattr(sys.modules.get("jax"), "config", None)
    if config is None:
        defaults = {name: value for name, value in _JAX_DEFAULTS.items() if name.upper() not in os.environ}
        return {"jax_enable_x64": _asks_for_64_bits()} | defaults
    values = config.values
    return {name: values[name] for name in (*_JAX_SETTINGS, *_JAX_PLACES) if name in values}


def check_jax_settings(before: dict[str, Any], what: str, error: type[RlotteryError] = TaskError) -> None:
    """Raise `error` if settings of JAX differ from those `before`, once they are restored.

    They aren't only restored, because code that asks for 64 bits would then compute with 32 and not know it. The
    platform is: on a CPU, code that asks for the CPU loses nothing.

    Args:
        before: what `jax_settings` returned. If JAX was imported later, only some of them are looked at.
    """
    found = jax_settings()
    changed = {name: found[name] for name in found.keys() & before.keys() if found[name] != before[name]}
    if "jax" in sys.modules:
        for name in changed:
            sys.modules["jax"].config.update(name, before[name])
    for name in _JAX_PLACES:
        changed.pop(name, None)
    if changed.get("jax_enable_x64"):
        raise error(f"{what} turns on jax_enable_x64 for the whole process{_NO_64_BITS}")
    if changed:
        listed = " and ".join(f"{name} to {value!r}" for name, value in sorted(changed.items()))
        raise error(
            f"{what} sets {listed} for the whole process, which would change training. Remove that line, and use "
            "the setting's context manager of JAX around the code that needs it."
        )


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
    """The global generators give the same numbers here in every process, and go on as if nothing had happened.

    A module may draw from them when it is imported, and a constructor too: all arms must get the same environment.
    """
    before = random.getstate(), np.random.get_state()
    seed_global_generators(0)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def restore_warning_filters(before: Sequence[Any]) -> None:
    """Set the filters of warnings to those `before`, a copy of `warnings.filters`. Takes 0.1 microseconds."""
    if warnings.filters != before:
        warnings.resetwarnings()  # forgets which warnings were shown, as every change of the filters must
        warnings.filters[:] = before  # type: ignore[index]


def seed_global_generators(seed: int) -> None:
    """Seed the generators of `random` and `numpy.random`, which environments may draw from without a seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)


def _asks_for_64_bits() -> bool:
    """Whether JAX, if it is imported now, computes with 64 bits."""
    return os.environ.get("JAX_ENABLE_X64", "").lower() in ("y", "yes", "t", "true", "on", "1")


def _attempt(end: BaseException) -> str:
    """How code tried to end the process, and where."""
    if isinstance(end, SystemExit):
        function = "os._exit" if isinstance(end, _ImmediateExit) else "sys.exit"
        how = f"tried to end the process with {function}({'' if end.code is None else repr(end.code)})"
    else:
        how = f"raised {type(end).__name__}{': ' * bool(str(end))}{end}"
    where = place_of(end)
    return f"{how}{' in ' * bool(where)}{where}"


class _ImmediateExit(SystemExit):
    """Raised in place of `os._exit`."""


@contextlib.contextmanager
def _no_immediate_exit() -> Iterator[None]:
    """`os._exit` raises an exception in this thread, but not in others, nor in processes that are forked here."""
    before, here = os._exit, (os.getpid(), threading.get_ident())

    def leave(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) == here:
            raise _ImmediateExit(status)
        before(status)

    os._exit = leave
    try:
        yield
    finally:
        os._exit = before


@contextlib.contextmanager
def _no_arguments() -> Iterator[None]:
    """A script that parses its arguments when it is imported must not parse ours."""
    before = sys.argv
    sys.argv = before[:1] or [""]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _kept_variables() -> Iterator[None]:
    """Restore the variables that change numbers, or how many threads compute them, for this process and its children.

    A module may set others for itself, such as MUJOCO_GL or the address of a licence server.
    """
    before = _variables()
    try:
        yield
    finally:
        for name in _variables().keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update(before)


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_VARIABLES) or name.endswith("_NUM_THREADS")
    }


@contextlib.contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Restore the handlers of the signals that stop a command. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = handlers_of(_KEPT_SIGNALS)
    try:
        yield
    finally:
        restore(before)
