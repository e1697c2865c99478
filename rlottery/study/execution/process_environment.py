"""The environment of a worker process. It must be set before the worker imports JAX."""

import os
import sys


def available_cores() -> list[int]:
    """The cores that this process may use. Numbered from 0 where the system has no affinity (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def worker_environment(device: str = "cpu") -> dict[str, str]:
    """Environment variables of a worker. Every library uses one thread, so that results repeat bit for bit.

    The worker imports from the same places as this process, because a task of the user's own (module:Id) may be in any
    of them.

    Args:
        device: "cpu", or "cuda" to let JAX choose the accelerator.
    """
    single = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    environment = dict(os.environ) | dict.fromkeys(single, "1")
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    flags = environment.get("XLA_FLAGS", "")
    environment["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    if device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    else:
        environment.pop("JAX_PLATFORMS", None)
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # Workers share the accelerator's memory.
    return environment


def pin(core: int | None) -> None:
    """Restrict this process to one core, if the system supports it."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
