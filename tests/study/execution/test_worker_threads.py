"""Several jobs in one worker: their logs and ends, and whole studies of them with real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.envs import OpenEnvironments
from rlottery.pruning.mask_file import read_mask
from rlottery.seeding import Streams
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import find_damage
from rlottery.storage.metrics_log import WALL_CLOCK, read_metrics
from rlottery.storage.paths import Store
from rlottery.study.execution import worker
from rlottery.study.execution.endings import FAILED, STOPPED
from rlottery.study.execution.reports import read_reports
from rlottery.training.learner import CpuLearner
from tests import waiting
from tests.faults import ALWAYS, kill, make_study, start, workers_of
from tests.study.execution.in_process import run_in_this_process
from tests.study.studies import TINY, job, tiny_config
from tests.waiting import Hold, wait_for

TOGETHER = {"RLOTTERY_TOGETHER": "1"}

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from rlottery.study.execution import worker
from rlottery.study.execution.endings import FAILED, STOPPED
from rlottery.study.execution.reports import read_reports
from rlottery.config import load_config
from rlottery.study.planning.jobs import Job
from rlottery.study.execution.endings import STOPPED, Ending, ending_of
from rlottery.study.execution.reports import Reports
from rlottery.study.execution.worker_threads import run_together

worker.SAVE_SECONDS = 0.5
reports = Reports(os.open("reports", os.O_CREAT | os.O_WRONLY), 3)
stop = worker.watch(os.pipe()[0], reports, os.getppid())
config = load_config(Path("config.yaml"), [])
jobs = [Job(config, "dense", 0, seed) for seed in config.seeds]
for job in jobs:
    job.files.folder.mkdir(parents=True)
"""


def ended(folder: Path, attempt: str) -> tuple[int, dict[int, int], list[str]]:
    """Exit code, reported outcomes by place, and logs of a worker whose jobs are done by the code of `attempt`."""
    make_study(folder, TINY.replace("seeds: [0]", "seeds: [0, 1, 2]"))
    code = PRELUDE + attempt + "\nrun_together(jobs, attempt, reports, print, close_seconds=0.5)\nos._exit(0)\n"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, timeout=600)
    with (folder / "reports").open("rb") as reports:
        outcomes = {place: ending.code for place, ending in read_reports(reports.fileno()).items()}
    runs = folder / "data" / "runs" / "Pendulum-v1"
    logs = [(runs / f"seed_{seed}" / "dense" / "dense.log").read_text() for seed in range(3)]
    return done.returncode, outcomes, [*logs, done.stderr.decode()]


def test_each_job_has_its_log_and_its_end(tmp_path: Path) -> None:
    code, outcomes, logs = ended(
        tmp_path / "study",
        """
class Hangs:
    def close(self):
        time.sleep(600)

def attempt(job, make_learner, environments):
    environments._open.append(("a task", Hangs()))
    print("seed", job.seed, "speaks")
    time.sleep(0.1)
    print("and warns", file=sys.stderr)
    if job.seed == 1:
        return Ending(3, "boom")
    os.system("echo what others print")
    return Ending(3 if job.seed == 2 else 0, "")
""",
    )
    assert (code, outcomes) == (0, {0: 0, 1: 3, 2: 3})
    log = "data/runs/Pendulum-v1/seed_0/dense/dense.log"
    first = f"One of 3 runs that train together. If all crash, {log} has the error.\n"
    assert logs[0] == f"{first}seed 0 speaks\nand warns\n"
    assert logs[2] == f"{first}seed 2 speaks\nand warns\n"
    assert logs[1] == f"{first}seed 1 speaks\nand warns\n"


def test_who_cannot_save_in_time_is_left_behind(tmp_path: Path) -> None:
    code, outcomes, logs = ended(
        tmp_path / "study",
        """
def attempt(job, make_learner, environments):
    if job.seed == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    while not stop.is_set():
        time.sleep(0.01)
    if job.seed == 2:
        time.sleep(600)
    return Ending(STOPPED, "")
""",
    )
    assert (code, outcomes) == (STOPPED, dict.fromkeys(range(3), STOPPED))
    assert logs[3].endswith("Stopped between two checkpoints: the training episode took too long.\n")


def test_without_an_accelerator_cuda_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = job(tiny_config(tmp_path, "device=cuda"), "dense")
    ending = worker.attempt(asked, CpuLearner, OpenEnvironments(), stop=worker.Event(), locks={})
    assert ending.code == FAILED
    assert capsys.readouterr().err.startswith("error: The config has device: cuda, but JAX finds no NVIDIA GPU.")


# Whole studies.

TICKET = "magnitude-80"


def runs_of(study: Path) -> list[Path]:
    return [Store(study / "data").run("held_Held-v0", seed, arm).folder for seed in (0, 1) for arm in ("dense", TICKET)]


def test_a_study_of_runs_that_train_together_survives_kills_and_is_that_of_runs_alone(tmp_path: Path) -> None:
    config = waiting.STUDY.replace("seeds: [0]", "seeds: [0, 1]")
    alone = waiting.make_study(tmp_path / "alone", config)
    run_in_this_process(alone)
    study = waiting.without_runs(alone, tmp_path / "killed")
    dense, tickets = ([Hold(study, arm, seed) for seed in (0, 1)] for arm in ("dense", TICKET))

    process = start(study, ALWAYS, environment=TOGETHER)
    wait_for(lambda: all(hold.is_reached() for hold in dense), process)
    assert len(workers_of(process)) == 1
    kill(process, "worker")  # it is started once more
    logs = [run / "dense.log" for run in runs_of(study) if run.name == "dense"]
    wait_for(lambda: all("Continuing from environment step" in log.read_text() for log in logs), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=600) == 75, (study / "command.log").read_text()
    for hold in dense:
        hold.release()

    process = start(study, ALWAYS, environment=TOGETHER)
    wait_for(lambda: all(hold.is_reached() for hold in tickets), process)
    kill(process, "all")
    process.wait()
    for hold in tickets:
        hold.release()

    assert start(study, ALWAYS, environment=TOGETHER).wait(timeout=600) == 0, (study / "command.log").read_text()
    assert_same_study(study, alone)


def assert_same_study(found: Path, expected: Path) -> None:
    names = {str(path.relative_to(expected / "data")) for path in files_of(expected)}
    assert {str(path.relative_to(found / "data")) for path in files_of(found)} == names
    for run, other in zip(runs_of(found), runs_of(expected), strict=True):
        manifest = json.loads((run / "manifest.json").read_text())
        assert not find_damage(run, manifest["files"])
        assert manifest["status"] == "done" and len(manifest["sittings"]) >= 2
        if run.name == "dense":
            assert manifest["fingerprint"] == json.loads((other / "manifest.json").read_text())["fingerprint"]
        if run.name == TICKET:
            assert masks(run / "mask.pkl") == masks(other / "mask.pkl")
        rows, expected_rows = read_metrics(run / "metrics.jsonl"), read_metrics(other / "metrics.jsonl")
        for row, expected_row in zip(rows, expected_rows, strict=True):
            assert row.keys() == expected_row.keys()
            for name in row.keys() - WALL_CLOCK - {"kind"}:
                assert row[name] == pytest.approx(expected_row[name], rel=1e-2, abs=1e-2), (run, name)
        agent, expected_agent = read_arrays(run / "agent.safetensors"), read_arrays(other / "agent.safetensors")
        assert agent.keys() == expected_agent.keys()
        for name, array in expected_agent.items():
            np.testing.assert_allclose(agent[name], array, rtol=1e-2, atol=5e-3, err_msg=f"{run} {name}")


def files_of(study: Path) -> list[Path]:
    """What a finished study consists of."""
    suffixes = (".safetensors", ".npy", ".pkl", ".json", ".jsonl")
    return [
        path for name in ("runs", "masks") for path in (study / "data" / name).rglob("*") if path.suffix in suffixes
    ]


def masks(path: Path) -> dict[str, bytes]:
    groups = read_mask(path).groups
    return {f"{group}.{name}": layer.tobytes() for group, layers in groups.items() for name, layer in layers.items()}


SPOILT = """
import os
from gymnasium.envs.classic_control import pendulum

reset, step = pendulum.PendulumEnv.reset, pendulum.PendulumEnv.step
seeds = {}

def seen(self, *, seed=None, options=None):
    seeds[id(self)] = seed
    return reset(self, seed=seed, options=options)

def spoilt(self, action):
    observation, reward, *rest = step(self, action)
    if seeds[id(self)] == int(os.environ["DIVERGES"]):
        reward = 1e30
    if seeds[id(self)] == int(os.environ["RAISES"]):
        raise ValueError("boom")
    return observation, reward, *rest

pendulum.PendulumEnv.reset, pendulum.PendulumEnv.step = seen, spoilt
"""


def test_who_diverges_or_fails_ends_alone(tmp_path: Path) -> None:
    study = make_study(
        tmp_path / "study", TINY.replace("seeds: [0]", "seeds: [0, 1, 2]").replace("env_steps: 300", "env_steps: 1000")
    )
    (study / "spoilt.py").write_text(SPOILT)
    name = "spoilt_Pendulum-v1"
    third = {seed: str(Streams("tiny", name, seed, "dense").for_purpose("episode", 2) % 2**31) for seed in (1, 2)}
    environment = TOGETHER | {"DIVERGES": third[1], "RAISES": third[2]}
    process = start(study, "tasks=[spoilt:Pendulum-v1]", "--stages", "dense", environment=environment)
    said = lambda: (study / "command.log").read_text()  # noqa: E731
    assert process.wait(timeout=600) == 1, said()
    runs = [Store(study / "data").run(name, seed, "dense") for seed in range(3)]
    manifests: list[dict[str, Any]] = [json.loads(run.manifest.read_text()) for run in runs]
    assert [manifest["status"] for manifest in manifests] == ["done", "diverged", "failed"]
    assert "Not finite at environment step" in manifests[1]["error"]
    assert "data.rewards" in read_arrays(runs[1].diverged)
    assert manifests[2]["error"] == f"ValueError: boom, in {study / 'spoilt.py'}, line 17"
    logs = [run.log("dense").read_text() for run in runs]
    assert ["Traceback" in log for log in logs] == [False, False, True]
    assert "error: Not finite" in logs[1] and "Not finite" not in logs[0] + logs[2]
    for line in ("seed 0 dense: done", "seed 1 dense: diverged", "seed 2 dense: failed"):
        assert f"{name} {line}" in said()
