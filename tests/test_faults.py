"""What can happen to a study on a shared machine, with real processes. `python -m tests.faults` does more of it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlottery.storage.manifests import read_manifest
from rlottery.storage.paths import Store
from tests import waiting
from tests.faults import (
    ALWAYS,
    GUIDE,
    Study,
    digests,
    found_by_verify,
    half_written,
    kill,
    make_study,
    repair,
    sessions,
    start,
    worker_of,
)
from tests.study.execution.in_process import run_in_this_process
from tests.study.studies import TINY
from tests.waiting import STUDY, Hold, wait_for, without_runs


def finish(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code of a command, and all that was said in the folder so far."""
    code = start(folder, *arguments, environment=environment).wait(timeout=600)
    return code, (folder / "command.log").read_text()


SECRET = "hunter2-hunter2"
GRADIENT = ("--pruning-method", "gradient")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one seed that nothing disturbed."""
    folder = waiting.make_study(tmp_path_factory.mktemp("faults") / "undisturbed")
    for method in ("magnitude", "gradient"):
        run_in_this_process(folder, "--pruning-method", method)
    return folder


WRITES_HALF = """
import os, time
from pathlib import Path

replace, held = os.replace, Path(__file__).with_name("write.hold")

def waiting(source, target, **options):
    while held.exists() and Path(target).parent.name == "checkpoint":
        time.sleep(0.01)
    return replace(source, target, **options)

os.replace = waiting
"""


def test_a_study_that_is_killed_ends_in_the_same_bits_and_holds_no_secret_of_the_environment(
    finished: Path, tmp_path: Path
) -> None:
    study = without_runs(finished, tmp_path / "killed")
    (study / "sitecustomize.py").write_text(WRITES_HALF)
    environment = {"PYTHONPATH": f"{study}:{Path.cwd()}", "API_TOKEN": SECRET}
    runs = [Store(study / "data").run("held_Held-v0", 0, arm) for arm in ("dense", "taylor-80-2x8")]
    dense, ticket = (Hold(study, run.folder.name) for run in runs)

    process = start(study, *GRADIENT, ALWAYS, "workers=1", environment=environment)
    wait_for(dense.is_reached, process)
    (study / "write.hold").touch()
    dense.release()
    wait_for(lambda: half_written(study / "data"), process)
    kill(process, "all")
    process.wait()
    (study / "write.hold").unlink()

    process = start(study, *GRADIENT, ALWAYS, "workers=1", environment=environment)
    wait_for(ticket.is_reached, process)
    os.kill(worker_of(runs[1]), signal.SIGKILL)  # it is started once more
    ticket.release()
    assert process.wait(timeout=600) == 0, (study / "command.log").read_text()

    assert [sessions(run) for run in runs] == [2, 2]
    found, expected = digests(study / "data"), digests(finished / "data")
    assert len(found) == 12
    assert found == {path: expected[path] for path in found}
    files = [path for path in study.rglob("*") if path.is_file()]
    assert len(files) > 20 and not [path for path in files if SECRET.encode() in path.read_bytes()]


JUMPING_CLOCK = """
import time

calls, true = [], time.time

def jumping():
    calls.append(1)
    return true() + (1e8 if len(calls) % 2 else -1e8)

time.time = jumping
"""


def test_neither_other_runs_nor_their_order_nor_a_clock_that_jumps_change_bits(finished: Path, tmp_path: Path) -> None:
    study = without_runs(finished, tmp_path / "other")
    (study / "sitecustomize.py").write_text(JUMPING_CLOCK)
    jumps = {"PYTHONPATH": f"{study}:{Path.cwd()}"}
    code, said = finish(study, "seeds=[1, 0]", "workers=2", ALWAYS, "--stages", "dense", environment=jumps)
    assert code == 0, said
    found = {path: digest for path, digest in digests(study / "data").items() if "seed_1" not in path}
    assert len(found) == 8
    expected = digests(finished / "data")
    assert found == {path: expected[path] for path in found}
    for seed in (0, 1):
        manifest = read_manifest(Store(study / "data").run("held_Held-v0", seed, "dense"))
        assert manifest is not None and 0 < manifest["seconds"] < 1e6


def test_damage_is_seen_and_repaired(finished: Path, tmp_path: Path) -> None:
    study = tmp_path / "damaged"
    shutil.copytree(finished, study)
    assert not found_by_verify(study)
    assert repair(study, Study(STUDY, GUIDE.commands), 1, random.Random(5), digests(finished / "data")) == (1, 1, [])


def can_mount() -> bool:
    return sys.platform == "linux" and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


IN_A_SMALL_FILE_SYSTEM = """
set -e
mount -t tmpfs -o size={size} tmpfs data
{python} -c "from rlottery.cli import app; app()" run config.yaml {arguments} > full.log 2>&1 || echo $? > code
cp -r data kept
"""


SMALL = TINY.replace("env_steps: 300, warmup_steps: 100", "env_steps: 1000, warmup_steps: 300")


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces, to mount a small file system")
class TestSmallDisk:
    @pytest.fixture
    def study(self, tmp_path: Path) -> Iterator[Path]:
        study = make_study(tmp_path / "study", SMALL)
        (study / "data").mkdir()
        yield study

    def run(self, study: Path, size: str, *arguments: str) -> tuple[int, str]:
        script = IN_A_SMALL_FILE_SYSTEM.format(size=size, python=sys.executable, arguments=" ".join(arguments))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
        done = subprocess.run(["unshare", "-rm", "bash", "-c", script], cwd=study, env=environment, timeout=600)
        assert done.returncode == 0
        code = int((study / "code").read_text()) if (study / "code").exists() else 0
        return code, (study / "full.log").read_text()

    def test_a_disk_that_is_too_small_is_reported_before_anything_starts(self, study: Path) -> None:
        code, said = self.run(study, "64k")
        assert code == 2
        assert "\nerror: This study needs about" in said and "data=FOLDER" in said
        assert not list((study / "kept").iterdir())

    def test_a_disk_that_fills_leaves_what_was_saved(self, study: Path) -> None:
        # Another program takes the room that there was at the start.
        (study / "fill.py").write_text(FILL)
        task = "tasks=[fill:Pendulum-v1]"
        code, said = self.run(study, "2m", task, ALWAYS, "--stages", "dense")
        assert code == 1, said
        assert "No disk space is left for data/runs/fill_Pendulum-v1/seed_0/dense. Free some" in said
        assert "It continues from step" in said and "Traceback" not in said
        # There is room again.
        shutil.rmtree(study / "data")
        shutil.move(study / "kept", study / "data")
        (study / "data" / "filler").unlink()
        (study / "fill.py").write_text("")
        code, said = finish(study, task, ALWAYS, "--stages", "dense")
        assert code == 0, said
        manifest = json.loads((study / "data/runs/fill_Pendulum-v1/seed_0/dense/manifest.json").read_text())
        assert manifest["sittings"][-1]["env_steps"] > 0


FILL = """
from pathlib import Path
from gymnasium.envs.classic_control import pendulum

reset = pendulum.PendulumEnv.reset
resets = []

def fill(self, **kwargs):
    resets.append(1)
    if len(resets) == 4 and Path("data/runs").exists():
        with open("data/filler", "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
    return reset(self, **kwargs)

pendulum.PendulumEnv.reset = fill
"""


def test_a_folder_that_cannot_be_written_is_reported_before_anything_starts(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", TINY)
    code, said = finish(study, "data=/proc/nowhere")
    assert code == 2
    assert "error: The data folder /proc/nowhere can't be written" in said


def test_a_run_that_diverges_is_marked_and_counted(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", TINY)
    wild = ("sac.critic_learning_rate=1", "sac.actor_learning_rate=1", "sac.reward_scale=1e30")
    code, said = finish(study, *wild)
    assert code == 1
    run = study / "data/runs/Pendulum-v1/seed_0/dense"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "diverged"
    assert "Not finite at environment step" in manifest["error"] and str(Path("dense/diverged.safetensors")) in said
    import safetensors.numpy

    evidence = safetensors.numpy.load_file(run / "diverged.safetensors")
    assert evidence["data.observations"].shape == (256, 3)
    assert any(name.startswith("agent.params.") for name in evidence)
    assert "Pendulum-v1 seed 0 dense: diverged" in said
    assert "Pendulum-v1 seed 0 magnitude-80: not run, because Pendulum-v1 seed 0 dense diverged" in said
    with contextlib.suppress(FileNotFoundError):
        (study / "command.log").unlink()
    code, said = finish(study, *wild)  # it isn't run again
    assert code == 1 and "running:" not in said


def test_a_worker_that_another_process_stops_continues(finished: Path, tmp_path: Path) -> None:
    study = without_runs(finished, tmp_path / "study")
    dense = Hold(study, "dense", from_step=100)
    process = start(study, ALWAYS, "--stages", "dense")
    wait_for(dense.is_reached, process)
    os.kill(worker_of(Store(study / "data").run("held_Held-v0", 0, "dense")), signal.SIGTERM)
    assert process.wait(timeout=600) == 1
    said = (study / "command.log").read_text()
    assert "held_Held-v0 seed 0 dense: stopped. It continues from step " in said
