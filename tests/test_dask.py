"""A study on a real Dask cluster that loses workers and its scheduler; `python -m tests.faults --on dask` does more.

A file of its own, because whole files go to a process of the test run.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlottery.storage.manifests import read_manifest
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.progress import read_progress
from tests.dask_cluster import PATIENCE_SECONDS, DaskCluster, wait_for
from tests.faults import ALWAYS, digests, make_study, start, starter_of_node
from tests.study.studies import ON_A_CLUSTER

pytest.importorskip("distributed", reason="needs Dask: uv sync, or pip install 'rlottery[dask]'")


def test_a_study_goes_on_with_new_workers_and_a_new_scheduler_to_the_same_bits(tmp_path: Path) -> None:
    here, there = make_study(tmp_path / "here", ON_A_CLUSTER), make_study(tmp_path / "there", ON_A_CLUSTER)
    undisturbed = start(here, ALWAYS)
    dense, ticket = (Store(there / "data").run("Pendulum-v1", 0, arm) for arm in ("dense", "magnitude"))
    with DaskCluster(tmp_path / "dask") as cluster:
        cluster.add_worker()
        cluster.wait_for_workers()
        process = start(there, *cluster.arguments, ALWAYS)

        def has(line: str) -> bool:
            assert process.poll() is None, said()
            return line in said()

        def said() -> str:
            return (there / "command.log").read_text()

        with suspended_once_saved(dense):
            cluster.lose_worker(starter_of_node(dense))  # the only one
            wait_for(lambda: has("has no workers left. Waiting for new ones: dask worker tcp://127.0.0.1:"))
        cluster.add_worker()
        wait_for(lambda: has("has workers again"))
        with suspended_once_saved(ticket):
            cluster.kill_scheduler()
            wait_for(lambda: has("doesn't answer. Waiting for it, or for a new one there."))
        cluster.start_scheduler()
        cluster.add_worker()
        assert process.wait(PATIENCE_SECONDS) == 0, said()
    assert undisturbed.wait(PATIENCE_SECONDS) == 0, (here / "command.log").read_text()
    expected = digests(here / "data")
    assert digests(there / "data") == expected and len(expected) == 11
    assert sessions(dense) == sessions(ticket) == 2 and "Traceback" not in said()
    assert not list((there / "data/.cluster").glob("*"))


@contextlib.contextmanager
def suspended_once_saved(run: RunFiles) -> Iterator[None]:
    """A context in which a run that has saved a checkpoint gets no further."""
    wait_for(lambda: any(run.checkpoint.glob("step_*.json")))
    progress = read_progress(run.progress)
    assert progress is not None
    os.kill(progress.pid, signal.SIGSTOP)
    yield
    with contextlib.suppress(ProcessLookupError):
        os.kill(progress.pid, signal.SIGCONT)


def sessions(run: RunFiles) -> int:
    """How many processes have trained a run, one after the other."""
    manifest = read_manifest(run)
    assert manifest is not None
    return len(manifest["sittings"])
