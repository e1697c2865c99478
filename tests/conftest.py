"""How the suite runs: JAX set up before any test imports it, a core for each of pytest's workers, long files first."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.call_here import call_here
from tests.peer_environments import sb3_python, sbx_python
from tests.started import kill_what_still_runs

__all__ = ["sb3_python", "sbx_python"]  # fixtures

# On the CPU whatever the machine has, compiled in a fifth of the time, with the bits of a worker.
os.environ["JAX_PLATFORMS"] = "cpu"
FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_multi_thread_eigen=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

OWN_CACHE = None if "RLOTTERY_TEST_CACHE" in os.environ else tempfile.mkdtemp(prefix="jax-cache-")
"""The folder of compiled programs, in the process that made it. It serves all processes of the test run: most tests
train agents of the same shapes."""
if OWN_CACHE is not None:
    os.environ["RLOTTERY_TEST_CACHE"] = os.environ["JAX_COMPILATION_CACHE_DIR"] = OWN_CACHE
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

if OWN_CACHE is not None:
    os.environ["XDG_STATE_HOME"] = f"{OWN_CACHE}/state"  # the key that studies are signed with

# Most of a short process is imports: compiled once, they take a third of the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _stored(descriptor: int) -> None:
    """Stands in for `os.fsync`: nothing here has to survive a power cut, and a disk takes milliseconds to store it.

    Commands that tests start do store it, and `tests/unsynced.py` follows what a power cut would leave.
    """
    os.fstat(descriptor)  # raises as the real one where nothing is open


os.fsync = _stored

settings.register_profile("any machine", deadline=None)  # an example may take long on a busy one
settings.load_profile("any machine")

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""gw0, gw1, ... in the processes that pytest-xdist starts."""

if WORKER and hasattr(os, "sched_setaffinity"):
    # The pipeline's own workers take the first core that they may use: on the same one they would wait for each other.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})

LONG_FILES = [
    "test_slurm.py",
    "test_equal.py",
    "test_faults.py",
    "test_laboratory.py",
    "test_pipeline.py",
    "test_docs.py",
    "test_vectorized_learner.py",
    "test_worker_threads.py",
    "test_faults_arms.py",
    "test_every_algorithm.py",
    "test_algorithms.py",
    "test_page.py",
    "test_dask.py",
    "test_checkpoints.py",
    "test_sanitized.py",
    "test_masks_hold.py",
    "test_on_policy.py",
    "test_export.py",
]
"""More than half of the suite's time. Begun last, one would keep a core busy while the others have nothing left."""


@pytest.fixture(autouse=True)
def _films_are_made_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process for each takes seconds, and it would not know the tests' environments."""
    monkeypatch.setattr("rlottery.export.play.call_in_child", call_here)


@pytest.fixture(autouse=True)
def _no_line_says_that_a_trial_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine every trial does, and the line would be in the output that tests look at."""
    monkeypatch.setattr("rlottery.study.planning.trials.SILENT_SECONDS", 1e6)


@pytest.fixture(autouse=True)
def _commands_end_with_their_test() -> Iterator[None]:
    yield
    kill_what_still_runs()


def pytest_unconfigure() -> None:
    if OWN_CACHE is not None:
        shutil.rmtree(OWN_CACHE, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is compiled for the next test run, whatever PYTHONDONTWRITEBYTECODE says.

    What is imported and collected lives until the end: no search for garbage goes through it, neither now nor later.
    """
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        sys.dont_write_bytecode = writes_none


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Let ``-p no:xdist`` work too, though pyproject.toml gives options of that plugin."""
    if not pluginmanager.hasplugin("xdist"):
        for option in ("--numprocesses", "--maxprocesses", "--dist"):
            parser.addoption(option, help="of pytest-xdist, which is off")
        parser.addoption("--no-loadscope-reorder", action="store_true", help="of pytest-xdist, which is off")


LONG = ("test_tutorials.py", "test_importing.py", "test_equal.py")
"""Files whose tests take minutes: they run if RLOTTERY_LONG_TESTS is set, as each week, or if they are named."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any(collection_path.name in argument for argument in config.invocation_params.args)
    return True if collection_path.name in LONG and not named and not os.environ.get("RLOTTERY_LONG_TESTS") else None
