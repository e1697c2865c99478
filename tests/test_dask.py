"""A study on a real Dask cluster that is cancelled, and loses workers and its scheduler.

`python -m tests.faults --on dask` loses more of them.

A file of its own, because whole files go to a process of the test run.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from rlottery.processes.stopping import TERMINATED
from rlottery.storage.paths import Store
from tests.dask_cluster import DASK, DaskCluster
from tests.faults import ALWAYS, digests, sessions, start, starter_of_node
from tests.study.execution.in_process import run_in_this_process
from tests.waiting import PATIENCE_SECONDS, Hold, make_study, wait_for

pytestmark = pytest.mark.skipif(not DASK, reason="needs Dask: uv sync, or pip install 'rlottery[dask]'")


def test_a_study_goes_on_with_new_workers_and_a_new_scheduler_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = make_study(tmp_path / "here"), make_study(tmp_path / "there")
    run_in_this_process(here)
    dense, ticket = (Store(there / "data").run("held_Held-v0", 0, arm) for arm in ("dense", "magnitude-80"))
    dense_held, ticket_held = (Hold(there, run.folder.name) for run in (dense, ticket))
    with DaskCluster(tmp_path / "dask") as cluster:
        cluster.add_worker()
        cluster.wait_for_workers()
        process = start(there, *cluster.arguments, ALWAYS)

        def said() -> str:
            return (there / "command.log").read_text()

        wait_for(dense_held.is_reached, process)
        cancelling = command(there, "cancel", "config.yaml")
        assert process.wait(PATIENCE_SECONDS) == TERMINATED and "Cancelled by `rlottery cancel`." in said()
        assert f"Cancelled 1 job on Dask at {cluster.address}: 1 running." in cancelling.stdout
        assert "Nothing to cancel" in command(there, "cancel", "config.yaml").stdout
        process = start(there, *cluster.arguments, ALWAYS)
        wait_for(lambda: "Continuing from environment step" in dense.log("dense").read_text(), process)
        cluster.lose_worker(starter_of_node(dense))  # the only one
        wait_for(lambda: "has no workers left. Waiting for new ones: dask worker tcp://127.0.0.1:" in said(), process)
        dense_held.release()
        cluster.add_worker()
        wait_for(lambda: "has workers again" in said(), process)
        wait_for(ticket_held.is_reached, process)
        cluster.kill_scheduler()
        wait_for(lambda: "doesn't answer. Waiting for it, or for a new one there." in said(), process)
        ticket_held.release()
        cluster.start_scheduler()
        cluster.add_worker()
        assert process.wait(PATIENCE_SECONDS) == 0, said()
    expected = digests(here / "data")
    assert digests(there / "data") == expected and len(expected) == 12
    assert (sessions(dense), sessions(ticket)) == (3, 2) and "Traceback" not in said()
    assert not list((there / "data/.cluster").glob("*"))


def command(study: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    called = [sys.executable, "-m", "rlottery", *words]
    return subprocess.run(called, cwd=study, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
