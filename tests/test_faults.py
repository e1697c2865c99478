"""What can happen to a study on a shared machine, with real processes. `python -m tests.faults` does more of it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import ALWAYS, GUIDE, QUICKLY, Study, digests, endure, found_by_verify, make_study, repair, start
from tests.study.studies import TINY

SMALL = TINY.replace("env_steps: 300, warmup_steps: 100", "env_steps: 1000, warmup_steps: 300")
STUDY = Study(SMALL, GUIDE.commands)


def finish(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code of a command, and all that was said in the folder so far."""
    code = start(folder, *arguments, environment=environment).wait(timeout=600)
    return code, (folder / "command.log").read_text()


SECRET = {"API_TOKEN": "hunter2-hunter2"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one seed that nothing disturbed."""
    folder = make_study(tmp_path_factory.mktemp("faults") / "undisturbed", SMALL)
    for method in ("magnitude", "gradient"):
        code, said = finish(folder, "--pruning-method", method, environment=SECRET)
        assert code == 0, said
    return folder


def test_a_study_that_is_killed_ends_in_the_same_bits(finished: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "killed", SMALL)
    survived = endure(study, Study(SMALL, STUDY.commands[1:]), 2, random.Random(1), latest=QUICKLY)
    assert survived.total() > 0
    found, expected = digests(study / "data"), digests(finished / "data")
    assert len(found) == 12
    assert found == {path: expected[path] for path in found}


def test_alone_or_with_others_and_in_any_order_gives_the_same_bits(finished: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "other", SMALL.replace("seeds: [0]", "seeds: [1, 0]"))
    code, said = finish(study, "workers=2", "--stages", "dense")
    assert code == 0, said
    found = {path: digest for path, digest in digests(study / "data").items() if "seed_1" not in path}
    assert len(found) == 8
    expected = digests(finished / "data")
    assert found == {path: expected[path] for path in found}


def test_damage_is_seen_and_repaired(finished: Path, tmp_path: Path) -> None:
    study = tmp_path / "damaged"
    shutil.copytree(finished, study)
    assert not found_by_verify(study)
    assert repair(study, STUDY, 1, random.Random(5), digests(finished / "data")) == (1, 1, [])


def test_no_secret_of_the_environment_is_written(finished: Path) -> None:
    files = [path for path in finished.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if b"hunter2-hunter2" in path.read_bytes()]


def can_mount() -> bool:
    return sys.platform == "linux" and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


IN_A_SMALL_FILE_SYSTEM = """
set -e
mount -t tmpfs -o size={size} tmpfs data
{python} -c "from rlottery.cli import app; app()" run config.yaml {arguments} > full.log 2>&1 || echo $? > code
cp -r data kept
"""


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

    def test_a_disk_that_fills_leaves_what_was_saved(self, finished: Path, study: Path) -> None:
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


def test_a_clock_that_jumps_changes_nothing(finished: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", SMALL)
    (study / "sitecustomize.py").write_text(JUMPING_CLOCK)
    code, said = finish(study, ALWAYS, "--stages", "dense", environment={"PYTHONPATH": f"{study}:{Path.cwd()}"})
    assert code == 0, said
    found = digests(study / "data")
    expected = digests(finished / "data")
    assert found == {path: expected[path] for path in found}
    manifest = json.loads((study / "data/runs/Pendulum-v1/seed_0/dense/manifest.json").read_text())
    assert 0 < manifest["seconds"] < 600


JUMPING_CLOCK = """
import time

calls, true = [], time.time

def jumping():
    calls.append(1)
    return true() + (1e8 if len(calls) % 2 else -1e8)

time.time = jumping
"""


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
    began = time.monotonic()
    code, said = finish(study, *wild)  # it isn't run again
    assert code == 1 and "running:" not in said
    assert time.monotonic() - began < 600


def test_a_worker_that_another_process_stops_continues(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", SMALL)
    process = start(study, ALWAYS, "--stages", "dense")
    progress = study / "data/runs/Pendulum-v1/seed_0/dense/progress.json"
    deadline = time.monotonic() + 300
    while not progress.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.kill(json.loads(progress.read_text())["pid"], signal.SIGTERM)
    assert process.wait(timeout=300) == 1
    said = (study / "command.log").read_text()
    assert "Pendulum-v1 seed 0 dense: stopped. It continues from step" in said
