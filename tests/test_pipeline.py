"""The pipeline end to end, on a study of seconds: what it makes, and what it does to what is there already."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from rich.console import Console
from typer.testing import CliRunner

from rlottery.cli import app
from rlottery.config import Config, load_config
from rlottery.errors import ConfigError, RlotteryError, StudyError
from rlottery.pipeline import main, script_main, with_command_line
from rlottery.processes.stopping import ONE_KEYSTROKE_SECONDS
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.disk import write_arrays
from rlottery.storage.manifests import file_entry, read_manifest
from rlottery.storage.metrics_log import read_evaluations
from rlottery.study.planning.plan import JobState, Tracked, plan_study
from rlottery.study.run import Outcome, run_study
from tests.study.execution import fake_worker
from tests.study.execution.in_process import train_in_this_process
from tests.study.studies import TINY, change_manifest, contents, job, write_untrained
from tests.waiting import is_alive, wait_for

ROOT = Path(__file__).parent.parent
STAGES = ("dense", "mask", "ticket")
GRADIENT_ARM = "taylor-80-2x8"
SCRIPT = """\
import sys
from rlottery.pipeline import main

main(pruning_method="magnitude")
main(pruning_method="gradient")
print("heavy:", sorted({"jax", "jaxlib", "optax"} & set(sys.modules)))
"""
"""No main guard: notebooks have none either."""


def run(folder: Path, *arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """A Python process in `folder`."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout
    )


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "120"}


def rlottery(*arguments: str) -> tuple[int, str, str]:
    """A command in this process and its folder: exit code, standard output, standard error."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def same_path() -> Iterator[None]:
    """Commands put the working directory on the path."""
    path = list(sys.path)
    yield
    sys.path[:] = path


@pytest.fixture(scope="module")
def first_output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a study after an unguarded script ran it with both methods, and what the script printed."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.yaml").write_text(TINY)
    (folder / "script.py").write_text(SCRIPT)
    result = run(folder, "script.py")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


@pytest.fixture(scope="module")
def finished(first_output: tuple[Path, str]) -> Path:
    """Its folder; tests that change it copy it first."""
    return first_output[0]


@pytest.fixture
def study(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in."""
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


def arm(folder: Path, name: str) -> Path:
    return folder / "data" / "runs" / "Pendulum-v1" / "seed_0" / name


def arrays(path: Path) -> dict[str, np.ndarray]:
    return dict(safetensors.numpy.load_file(path))


class TestFiles:
    def test_masks_need_nothing_but_numpy(self, finished: Path) -> None:
        code = (
            "import json, pickle, sys\n"
            "found = {}\n"
            "for name in ('', '_gradient'):\n"
            "    with open(f'data/masks/Pendulum-v1_seed_0{name}.pkl', 'rb') as file:\n"
            "        mask = pickle.load(file)\n"
            "    found[name] = {g: {p: [str(m.dtype), m.shape, int(m.sum())] for p, m in mask[g].items()}"
            " for g in ('actor', 'critic')} | {'metadata': mask['metadata']}\n"
            "assert not {'rlottery', 'jax'} & set(sys.modules)\n"
            "print(json.dumps(found))"
        )
        found = json.loads(run(finished, "-c", code).stdout)
        shapes = {"layer_0": [3, 16], "layer_1": [16, 16], "layer_2": [16, 2]}
        for suffix, method, criterion in (("", "magnitude", "magnitude"), ("_gradient", "gradient", "taylor")):
            mask = found[suffix]
            assert {path: layer[1] for path, layer in mask["actor"].items()} == shapes
            assert all(layer[0] == "bool" for group in ("actor", "critic") for layer in mask[group].values())
            # 336 weights in the actor, 2 x 336 in the critics; 80 % of them pruned.
            assert sum(layer[2] for layer in mask["actor"].values()) == 336 - 269
            assert sum(layer[2] for layer in mask["critic"].values()) == 672 - 538
            metadata = mask["metadata"]
            assert (metadata["task"], metadata["seed"], metadata["method"], metadata["criterion"]) == (
                *("Pendulum-v1", 0),
                *(method, criterion),
            )

    def test_replay_is_plain_npy(self, finished: Path) -> None:
        replay = {path.stem: np.load(path) for path in (arm(finished, "dense") / "replay").iterdir()}
        assert {name: field.shape for name, field in replay.items()} == {
            "observations": (300, 3),
            "actions": (300, 1),
            "rewards": (300,),
            "next_observations": (300, 3),
            "terminations": (300,),
        }

    @pytest.mark.parametrize("name", ["dense", "magnitude-80", GRADIENT_ARM])
    def test_metrics_of_every_run(self, finished: Path, name: str) -> None:
        rows = read_evaluations(arm(finished, name) / "metrics.jsonl")
        assert [row["env_steps"] for row in rows] == [0, 150, 300]
        assert list((arm(finished, name) / "tensorboard").iterdir())

    @pytest.mark.parametrize("name", ["dense", "magnitude-80", GRADIENT_ARM])
    def test_manifests_hold_the_digests_of_their_files(self, finished: Path, name: str) -> None:
        manifest = json.loads((arm(finished, name) / "manifest.json").read_text())
        assert manifest["status"] == "done"
        assert manifest["files"] == {file: file_entry(arm(finished, name) / file) for file in manifest["files"]}
        assert {"agent.safetensors", "metrics.jsonl"} < manifest["files"].keys()

    @pytest.mark.parametrize(("name", "suffix"), [("magnitude-80", ""), (GRADIENT_ARM, "_gradient")])
    def test_pruned_weights_are_zero_in_networks_targets_and_moments(
        self, finished: Path, name: str, suffix: str
    ) -> None:
        agent = arrays(arm(finished, name) / "agent.safetensors")
        mask = read_mask(finished / "data" / "masks" / f"Pendulum-v1_seed_0{suffix}.pkl")
        checked = 0
        for group, layers in mask.groups.items():
            for path, kept in layers.items():
                places = [f"params.{group}.{path}", f"optimizer.{group}.0.mu.{path}", f"optimizer.{group}.0.nu.{path}"]
                places += [f"target_critic.{path}"] if group == "critic" else []
                for place in places:
                    kernel = agent[f"{place}.kernel"]
                    assert not kernel[~kept].any(), place
                    assert kernel[kept].any(), place
                    checked += 1
        assert checked == 3 * 3 + 6 * 4

    def test_the_two_masks_differ(self, finished: Path) -> None:
        masks = [read_mask(finished / "data" / "masks" / f"Pendulum-v1_seed_0{s}.pkl") for s in ("", "_gradient")]
        assert any((layer != masks[1].all_layers[path]).any() for path, layer in masks[0].all_layers.items())

    def test_nothing_half_written_is_left(self, finished: Path) -> None:
        names = [path.name for path in (finished / "data").rglob("*")]
        assert not [name for name in names if "partial" in name or "write-test" in name or name == "progress.json"]


def test_a_ticket_starts_from_the_dense_runs_initial_weights_times_the_mask(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlottery.agents.base import to_arrays
    from rlottery.study.stages import train_run
    from rlottery.study.stages.run_stage import run_stage

    shutil.copytree(finished, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    started: list[Any] = []

    def stop(loop: Any, *rest: object, **more: object) -> None:
        started.append(loop.learner.state)
        raise StudyError("seen enough")

    monkeypatch.setattr(train_run, "train", stop)
    with pytest.raises(StudyError, match="seen enough"):
        run_stage(job(load_config("config.yaml"), "ticket"))
    start = to_arrays(started[0]._replace(masks={}))
    initial = arrays(arm(finished, "dense") / "initial.safetensors")
    mask = read_mask(finished / "data" / "masks" / "Pendulum-v1_seed_0.pkl").all_layers
    for name, weights in initial.items():
        expected = weights * mask[name.removesuffix(".kernel")] if name.endswith("kernel") else weights
        np.testing.assert_array_equal(start[f"params.{name}"], expected)
        if name.startswith("critic."):
            np.testing.assert_array_equal(start[f"target_{name}"], expected)
    assert not any(moment.any() for name, moment in start.items() if ".mu" in name or ".nu" in name)


class TestWhatThePersonSees:
    def test_plain_lines_without_a_terminal(self, first_output: tuple[Path, str]) -> None:
        may_be = ("The compiled kernels are off: ", "Trying Pendulum-v1 ")
        lines = [line for line in first_output[1].splitlines() if not line.startswith(may_be)]
        assert lines[0] == "Study 'tiny' in data: Pendulum-v1, 1 seed. Planning ..."
        started = lines[1].partition("; running: ")
        assert started[0].startswith("0 of 2 runs done, ") and "(starting)" in started[2]
        (done,) = (line for line in lines if line.startswith("Pendulum-v1 seed 0 magnitude-80: done in "))
        assert ", return " in done and not any("mask" in line for line in lines[:6])
        assert "\x1b" not in first_output[1]

    def test_the_second_method_skips_what_the_first_did(self, first_output: tuple[Path, str]) -> None:
        assert "1 of 2 runs is already done." in first_output[1]

    def test_the_table_has_every_arm_and_where_things_lie(self, first_output: tuple[Path, str]) -> None:
        table = first_output[1].split("already done")[1]
        for part in ("dense", "magnitude-80", GRADIENT_ARM, "data/report", "tensorboard --logdir data/runs"):
            assert part in table
        assert (first_output[0] / "data" / "report" / "figures" / "curves-Pendulum-v1.png").is_file()

    def test_the_parent_never_imports_jax(self, first_output: tuple[Path, str]) -> None:
        assert first_output[1].splitlines()[-1] == "heavy: []"


def test_a_second_run_does_nothing_and_says_so(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(study / "data" / "runs") | contents(study / "data" / "masks")
    for method in ("magnitude", "gradient"):
        main(pruning_method=method)
        assert capsys.readouterr().out.splitlines()[1] == "All 2 runs of this command are already done."
    assert contents(study / "data" / "runs") | contents(study / "data" / "masks") == before


def test_another_sparsity_adds_a_ticket_and_its_control(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_in_this_process(monkeypatch)
    published = study / "data" / "masks" / "Pendulum-v1_seed_0.pkl"
    others = {name: contents(arm(study, name)) for name in ("dense", "magnitude-80", GRADIENT_ARM)}
    code, output, message = rlottery("run", "pruning.sparsity=0.5", "pruning.controls=[random]")  # no config argument
    assert code == 0, output + message
    ticket, random = read_mask(published), read_mask(published.with_name("Pendulum-v1_seed_0_random.pkl"))
    assert ticket.metadata["sparsity_asked"] == random.metadata["sparsity_asked"] == {"actor": 0.5, "critic": 0.5}
    both = [(mask, random.all_layers[path]) for path, mask in ticket.all_layers.items()]
    assert all(one.sum() == other.sum() for one, other in both) and any((one != other).any() for one, other in both)
    for name in ("magnitude-50", "random-of-magnitude-50"):
        assert json.loads((arm(study, name) / "manifest.json").read_text())["status"] == "done"
        assert name in (study / "data" / "report" / "report.html").read_text()

    code, output, message = rlottery("run")  # back again: its mask is published, its ticket is there
    assert code == 0, output + message
    assert "magnitude-80: done" not in output
    assert read_mask(published).metadata["sparsity_asked"] == {"actor": 0.8, "critic": 0.8}
    for name, before in others.items():
        # A worker was there to publish the mask. It left its lock and its log.
        left = (".lock", "mask.log")
        after = {path: value for path, value in contents(arm(study, name)).items() if path not in left}
        assert after == {path: value for path, value in before.items() if path not in left}


def test_a_dense_agent_without_its_replay_is_trained_again_to_the_same_bits(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_this_process(monkeypatch)
    dense = arm(study, "dense")
    names = ("agent.safetensors", "initial.safetensors", *(f"replay/{p.name}" for p in (dense / "replay").iterdir()))
    before = {name: (dense / name).read_bytes() for name in names}
    shutil.rmtree(dense / "replay")
    code, output, message = rlottery("run", "--stages", "dense")
    assert code == 0, output + message
    assert "Replay buffer missing, will be trained again: Pendulum-v1 seed 0 dense\n" in output
    assert {name: (dense / name).read_bytes() for name in names} == before
    for method in ("magnitude", "gradient"):
        plan = plan_study(load_config("config.yaml"), method, STAGES)
        assert [t.state for t in plan] == [JobState.FOUND] * 4


def test_a_replay_that_is_not_to_be_kept_is_released_once(study: Path) -> None:
    config = load_config("config.yaml", ["keep_replay=false"])
    run_study(config, "magnitude", STAGES, Console(quiet=True))
    assert not (arm(study, "dense") / "replay").exists()
    before = contents(study / "data" / "runs")
    outcome = run_study(config, "gradient", STAGES, Console(quiet=True))
    assert [t.state for t in outcome.tracked] == [JobState.FOUND] * 4
    assert contents(study / "data" / "runs") == before
    sparser = load_config("config.yaml", ["keep_replay=false", "pruning.sparsity=0.9"])
    assert [t.state for t in plan_study(sparser, "magnitude", STAGES)] == [
        JobState.FOUND,
        JobState.WAITING,
        JobState.WAITING,
        JobState.FOUND,
    ]
    with pytest.raises(StudyError, match="Replay buffer not found"):
        plan_study(sparser, "gradient", STAGES)


def test_the_mask_of_a_ticket_that_is_there_is_not_written_over(study: Path) -> None:
    from rlottery.study.stages.masking import create_mask

    made = job(load_config("config.yaml"), "mask")
    # A dense agent from elsewhere: other weights, with a manifest that fits them.
    agent = {name: np.flip(array).copy() for name, array in arrays(made.dense_files.agent).items()}
    write_arrays(made.dense_files.agent, agent)
    files = (read_manifest(made.dense_files) or {})["files"]
    change_manifest(made.dense_files, files=files | {"agent.safetensors": file_entry(made.dense_files.agent)})
    before = contents(study / "data")
    with pytest.raises(StudyError, match="inputs.agent"):
        create_mask(made)
    assert contents(study / "data") == before


BAD_TASKS = """
import glob
import os
import signal
import sys
import threading
import time

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv

# Not where the task is tried.
IN_WORKER = getattr(sys.modules["__main__"].__spec__, "name", "").startswith("rlottery.study.execution.")

class Raises(PendulumEnv):
    def step(self, action):
        if os.path.exists("hot") and os.getpid() == HERE:
            raise RuntimeError("the motor is hot")
        return super().step(action)

    def close(self):
        print("closed when the manifests were", glob.glob("data/runs/bad_Raises-v0/*/*/manifest.json"))
        raise OSError("not connected")

class NotANumber(PendulumEnv):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, float("nan") if os.getpid() == HERE else reward, *rest

class Slow(PendulumEnv):
    def __init__(self):
        super().__init__()
        if IN_WORKER:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: None)
            threading.Thread(target=time.sleep, args=[600]).start()

    def step(self, action):
        if IN_WORKER:
            time.sleep(0.2)
        return super().step(action)

for kind, steps in ((Raises, 50), (NotANumber, 50), (Slow, 10)):
    gymnasium.register(f"{kind.__name__}-v0", kind, max_episode_steps=steps)
"""


@pytest.fixture
def bad_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(TINY)
    (tmp_path / "bad.py").write_text(f"HERE = {os.getpid()}\n{BAD_TASKS}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_failed_run_is_shown_with_its_log_and_can_be_run_again(
    bad_tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_this_process(monkeypatch)  # where these tasks fail; in the process that tries them first they don't
    (bad_tasks / "hot").touch()
    code, output, message = rlottery("run", "tasks=[bad:Raises-v0, bad:NotANumber-v0]")
    assert code == 1
    assert "Traceback" not in output + message
    lines = output.splitlines()
    logs = {name: f"data/runs/bad_{name}-v0/seed_0/dense/dense.log" for name in ("Raises", "NotANumber")}
    for log in logs.values():
        assert f"log: {log}" in lines and (bad_tasks / log).is_file()
    assert any("RuntimeError: the motor is hot, in " in line for line in lines)
    assert any(
        "bad:NotANumber-v0: after step 1 of an episode, the reward is nan, which is not finite" in line
        for line in lines
    )
    assert any("seed 0 magnitude-80: not run, because bad_Raises-v0 seed 0 dense failed" in line for line in lines)
    monkeypatch.setenv("COLUMNS", "400")
    status = rlottery("status", "tasks=[bad:Raises-v0, bad:NotANumber-v0]")[1]
    *listed, summary = status.splitlines()
    assert "\n".join(listed).count(" failed ") == 2 and "the motor is hot" in status
    assert summary == "0 of 2 runs done, 2 failed. Untrained policies: 2 tasks to do."

    (bad_tasks / "hot").unlink()
    code, output, message = rlottery("run", "tasks=[bad:Raises-v0]", "--stages", "dense")
    assert code == 0, output + message
    assert "bad_Raises-v0 seed 0 dense: done" in output
    log = (bad_tasks / logs["Raises"]).read_text()
    assert "An environment of bad:Raises-v0 was not closed: OSError: not connected" in log
    manifest = "data/runs/bad_Raises-v0/seed_0/dense/manifest.json"
    # Twice for the run that failed, and twice for the one that is done.
    assert log.count(f"closed when the manifests were ['{manifest}']") == 4


class Command:
    """`rlottery run` in a process of its own, and the processes of its workers."""

    def __init__(self, folder: Path, *arguments: str, setup: str = "") -> None:
        # A shell's background jobs, and all that they start, ignore interrupts: this process doesn't.
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{code}{setup}\nfrom rlottery.cli import app; app()", "run", *arguments],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers: list[int] = []

    def end(self) -> tuple[int, str, str]:
        """Wait for the end: exit code, standard output, standard error."""
        output, message = self.process.communicate(timeout=600)
        return self.process.returncode, output, message


class TestEnds:
    @pytest.fixture
    def start(self, bad_tasks: Path) -> Iterator[Callable[..., Command]]:
        """Starts a command and waits until the runs of all its seeds are under way."""
        started = []

        def start(seeds: list[int]) -> Command:
            command = Command(bad_tasks, "tasks=[bad:Slow-v0]", f"seeds={seeds}", "workers=2")
            started.append(command)
            found = [bad_tasks / f"data/runs/bad_Slow-v0/seed_{seed}/dense/progress.json" for seed in seeds]
            wait_for(lambda: all(path.exists() for path in found), command.process)
            command.workers = [json.loads(path.read_text())["pid"] for path in found]
            return command

        yield start
        stop(started)

    @pytest.fixture
    def start_fakes(self, bad_tasks: Path) -> Iterator[Callable[..., Command]]:
        """The same with workers that train nothing, and do what their seeds say when they are to stop."""
        started = []

        def start(seeds: list[int]) -> Command:
            setup = f"""
import sys
from rlottery.study.execution import local
local.WORKER_COMMAND = (sys.executable, {fake_worker.__file__!r})
local.forks_work = lambda: False"""
            write_untrained(load_config(bad_tasks / "config.yaml"), -1.0, -2.0)
            command = Command(bad_tasks, f"seeds={seeds}", "workers=2", setup=setup)
            started.append(command)
            wait_for(lambda: all((bad_tasks / f"data/ready-{seed}").exists() for seed in seeds), command.process)
            lines = (bad_tasks / "data/order.txt").read_text().splitlines()
            command.workers = [int(line.split()[3]) for line in lines]
            assert len(command.workers) == len(seeds)
            return command

        yield start
        stop(started)

    def test_ctrl_c_saves_every_run(self, start: Callable[..., Command], bad_tasks: Path) -> None:
        command = start([0, 1])
        command.process.send_signal(signal.SIGINT)
        code, output, message = command.end()
        assert code == 130
        assert message == "Stopped. Run the same command again to continue from the last checkpoints.\n"
        assert "Stopping: each run saves a checkpoint at the end of its episode. Press Ctrl-C again" in output
        assert not any(map(is_alive, command.workers))
        status = rlottery("status", "tasks=[bad:Slow-v0]", "seeds=[0, 1]")[1]
        assert status.count("continues from step") == 2
        assert len(list(bad_tasks.glob("data/runs/*/*/dense/checkpoint/step_*.json"))) == 2

    def test_sigterm_lets_every_worker_save(self, start_fakes: Callable[..., Command], bad_tasks: Path) -> None:
        command = start_fakes([fake_worker.OBEDIENT, fake_worker.SLOW])
        command.process.send_signal(signal.SIGTERM)
        code, output, message = command.end()
        assert code == 75
        assert message == "Stopped. Run the same command again to continue from the last checkpoints.\n"
        assert "Stopping: each run saves a checkpoint at the end of its episode." in output
        assert "Ctrl-C" not in output
        assert (bad_tasks / "data/saved").exists()
        assert not any(map(is_alive, command.workers))

    def test_ctrl_c_twice_stops_at_once(self, start_fakes: Callable[..., Command]) -> None:
        command = start_fakes([fake_worker.STUBBORN, fake_worker.SLOW])
        command.process.send_signal(signal.SIGINT)
        assert command.process.stdout is not None
        while "Stopping" not in (line := command.process.stdout.readline()):
            assert line, "ended without saying so"
        time.sleep(2 * ONE_KEYSTROKE_SECONDS)
        command.process.send_signal(signal.SIGINT)
        code, _, message = command.end()
        assert (code, any(map(is_alive, command.workers))) == (130, False)
        assert message == "Stopped at once. Run the same command again to continue from the last checkpoints.\n"

    def test_workers_save_when_their_command_is_killed_and_the_next_command_waits_for_them(
        self, start: Callable[..., Command], bad_tasks: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train_in_this_process(monkeypatch)
        first = start([1])
        code, _, message = rlottery("run", "tasks=[bad:Slow-v0]", "seeds=[1]")
        assert code == 2
        assert "data/runs/bad_Slow-v0/seed_1/dense" in message and f"process {first.workers[0]} on" in message
        first.process.kill()
        first.end()
        code, output, message = rlottery("run", "tasks=[bad:Slow-v0]", "seeds=[1]", "--stages", "dense")
        assert code == 0, output + message
        wait_for(lambda: not any(map(is_alive, first.workers)))
        manifest = json.loads((bad_tasks / "data/runs/bad_Slow-v0/seed_1/dense/manifest.json").read_text())
        assert [session["env_steps"] > 0 for session in manifest["sittings"]] == [False, True]
        assert not list(bad_tasks.glob("data/runs/bad_Slow-v0/seed_1/dense/checkpoint"))


def stop(commands: list[Command]) -> None:
    for command in commands:
        command.process.kill()
        for pipe in (command.process.stdout, command.process.stderr):
            assert pipe is not None
            pipe.close()
        command.process.wait()


def test_main_refuses_what_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(RlotteryError, match="Nothing to do"):
        main(train_agent=False, create_ticket=False, run_ticket=False)
    with pytest.raises(ConfigError, match="no such file"):
        main(config=tmp_path / "nosuch.yaml")
    (tmp_path / "config.yaml").write_text(TINY)
    with pytest.raises(RlotteryError, match="Unknown pruning method"):
        main(pruning_method="taylor", config=tmp_path / "config.yaml")  # type: ignore[arg-type]


class TestScript:
    """`run_pipeline.py`: the call at its bottom, and a command line that wins over it."""

    Calls = list[dict[str, Any]]

    @pytest.fixture
    def calls(self) -> Calls:
        return []

    @pytest.fixture
    def pipeline(self, calls: Calls) -> Callable[..., Outcome]:
        def main(
            train_agent: bool = True,
            create_ticket: bool = True,
            run_ticket: bool = True,
            pruning_method: str = "magnitude",
            config: str = "config.yaml",
        ) -> Outcome:
            calls.append({key: value for key, value in locals().items() if key != "calls"})
            if pruning_method == "bad":
                raise RlotteryError("how to fix it")
            if pruning_method == "interrupted":
                raise KeyboardInterrupt
            failed = [Tracked(None, JobState.FAILED)] if pruning_method == "fails" else []  # type: ignore[arg-type]
            return Outcome(failed, None)  # type: ignore[arg-type]

        return main

    def script(self, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., Outcome], *arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["run_pipeline.py", *arguments])
        return with_command_line(pipeline)

    def test_without_arguments_the_call_counts(
        self, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., Outcome], calls: Calls
    ) -> None:
        self.script(monkeypatch, pipeline)(run_ticket=False, pruning_method="gradient", config=Path("mine.yaml"))
        assert calls == [
            {
                "train_agent": True,
                "create_ticket": True,
                "run_ticket": False,
                "pruning_method": "gradient",
                "config": "mine.yaml",
            }
        ]

    def test_arguments_win(
        self, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., Outcome], calls: Calls
    ) -> None:
        arguments = ("--pruning-method", "gradient", "--no-train-agent", "--run-ticket", "--config", "other.yaml")
        self.script(monkeypatch, pipeline, *arguments)(train_agent=True, run_ticket=False, pruning_method="magnitude")
        assert calls == [
            {
                "train_agent": False,
                "create_ticket": True,
                "run_ticket": True,
                "pruning_method": "gradient",
                "config": "other.yaml",
            }
        ]

    def test_two_calls_are_two_runs(
        self, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., Outcome], calls: Calls
    ) -> None:
        call = self.script(monkeypatch, pipeline)
        assert isinstance(call(pruning_method="magnitude"), Outcome)
        call(True, True, False, pruning_method="gradient")
        assert [c["pruning_method"] for c in calls] == ["magnitude", "gradient"]

    def test_a_misspelt_argument_is_no_silent_default(
        self, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., Outcome], calls: Calls
    ) -> None:
        with pytest.raises(TypeError, match="prunning_method"):
            self.script(monkeypatch, pipeline)(prunning_method="gradient")
        assert calls == []

    @pytest.mark.parametrize(
        ("method", "code", "message"),
        [("bad", 2, "error: how to fix it\n"), ("fails", 1, ""), ("interrupted", 130, "Stopped at once")],
    )
    def test_exit_codes(
        self,
        monkeypatch: pytest.MonkeyPatch,
        pipeline: Callable[..., Outcome],
        capsys: pytest.CaptureFixture[str],
        method: str,
        code: int,
        message: str,
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            self.script(monkeypatch, pipeline)(pruning_method=method)
        assert ended.value.code == code
        assert capsys.readouterr().err.startswith(message)

    @pytest.mark.parametrize(
        ("options", "method"),
        [((), None), (("--pruning-method", "gradient"), "gradient"), (("--config", "other"), "own")],
    )
    def test_its_own_method_is_nothing_to_a_config_that_lists_arms(
        self,
        monkeypatch: pytest.MonkeyPatch,
        pipeline: Callable[..., Outcome],
        calls: Calls,
        tmp_path: Path,
        options: tuple[str, ...],
        method: str | None,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        listed = "tasks: [a]\nseeds: [0]\narms: [{criterion: magnitude, sparsity: 0.5}]\n"
        Path("config.yaml").write_text(listed)
        Path("other").write_text("tasks: [a]\nseeds: [0]\n")
        self.script(monkeypatch, pipeline, *options)(pruning_method="own")
        assert [call["pruning_method"] for call in calls] == [method]

    def test_help_runs_nothing(
        self, monkeypatch: pytest.MonkeyPatch, pipeline: Callable[..., Outcome], calls: Calls
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            self.script(monkeypatch, pipeline, "--help")()
        assert (ended.value.code, calls) == (0, [])

    def test_keeps_the_name_and_docs_of_the_function(self) -> None:
        assert (script_main.__name__, script_main.__doc__) == ("main", main.__doc__)

    def test_the_shipped_one_on_a_finished_study(self, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copy(ROOT / "run_pipeline.py", study)
        (study / "queue.py").write_text("raise RuntimeError('this is not Python's own module')")
        shutil.rmtree(arm(study, GRADIENT_ARM))
        shutil.rmtree(arm(study, "dense") / "replay")
        result = run(study, "run_pipeline.py", "--pruning-method", "gradient", "--no-train-agent")
        assert result.returncode == 2
        assert result.stderr.startswith("error: Replay buffer not found")
        monkeypatch.setattr(sys, "argv", ["run_pipeline.py", "--no-train-agent"])
        runpy.run_path("run_pipeline.py", run_name="__main__")


BLOCK = """\
if __name__ == "__main__":
    main(
        train_agent=True,
        create_ticket=True,
        run_ticket=True,
        pruning_method="magnitude",  # Change to "gradient" for better performance
    )
"""
BOTH = """\
# First run with magnitude
main(pruning_method="magnitude")

# Then run with gradient
main(pruning_method="gradient")
"""
FULL = """\
main(
    train_agent=True,      # Step 1: Train dense networks
    create_ticket=True,    # Step 2: Create pruning masks
    run_ticket=True,       # Step 3: Train lottery tickets
    pruning_method="gradient",
)
"""
AGAIN = "main(train_agent=True, create_ticket=False, run_ticket=False)\n"
"""The guide's calls, letter by letter."""
PLAIN = "from rlottery.pipeline import main\n"
OWN_FLAGS = f"""\
import argparse
{PLAIN}
parser = argparse.ArgumentParser()
parser.add_argument("--pruning-method")
parser.add_argument("--train-agent", action="store_true")
main(pruning_method=parser.parse_args().pruning_method)
"""


class TestWaysToWriteTheScript:
    """The guide's calls in `run_pipeline.py`, and other scripts that call `main`, with flags on the command line."""

    Runs = list[tuple[str | None, list[str], str]]

    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
        """Method, stages and study's name of every run that a script asks for."""
        asked: TestWaysToWriteTheScript.Runs = []

        def run(config: Config, method: str | None, stages: list[str]) -> Outcome:
            asked.append((method, stages, config.name))
            return Outcome([], None)  # type: ignore[arg-type]

        monkeypatch.setattr("rlottery.pipeline.run_and_conclude", run)
        monkeypatch.chdir(tmp_path)
        Path("config.yaml").write_text(TINY)
        Path("other.yaml").write_text(TINY.replace("tiny", "other"))
        return asked

    def start(self, monkeypatch: pytest.MonkeyPatch, code: str, *flags: str, name: str = "run_pipeline.py") -> None:
        Path(name).write_text(code)
        monkeypatch.setattr(sys, "argv", [name, *flags])
        runpy.run_path(name, run_name="__main__")

    @pytest.mark.parametrize(
        ("call", "methods", "stages"),
        [
            (BLOCK, ["magnitude"], STAGES),
            (BOTH, ["magnitude", "gradient"], STAGES),
            (FULL, ["gradient"], STAGES),
            (AGAIN, [None], ("dense",)),
        ],
        ids=["block", "both", "full", "again"],
    )
    def test_flags_override_the_guides_calls(
        self, monkeypatch: pytest.MonkeyPatch, runs: Runs, call: str, methods: list[str | None], stages: tuple[str, ...]
    ) -> None:
        shipped = (ROOT / "run_pipeline.py").read_text()
        script = shipped.partition("if __name__")[0] + call
        self.start(monkeypatch, script)
        assert runs == [(method, list(stages), "tiny") for method in methods]
        runs.clear()
        flags = ("--pruning-method", "gradient", "--create-ticket", "--no-run-ticket", "--config=other.yaml")
        self.start(monkeypatch, script, *flags)
        assert runs == [("gradient", ["dense", "mask"], "other") for _ in methods]

    def test_an_unknown_flag_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, runs: Runs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = (ROOT / "run_pipeline.py").read_text().partition("if __name__")[0] + BLOCK
        with pytest.raises(SystemExit) as ended:
            self.start(monkeypatch, script, "--prunning-method", "gradient")
        assert (ended.value.code, runs) == (2, [])
        assert "--prunning-method" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "flags",
        [
            *(("--pruning-method", "gradient"), ("--pruning-method=gradient",), ("--pruning_method", "gradient")),
            *(("--no-run-ticket",), ("--config", "other"), ("--help",)),
        ],
    )
    def test_a_main_that_would_ignore_them_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, runs: Runs, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            self.start(monkeypatch, PLAIN + BLOCK, *flags)
        assert (ended.value.code, runs) == (2, [])
        message = capsys.readouterr().err
        assert " ".join(flags) in message and "from rlottery.pipeline import script_main as main" in message

    @pytest.mark.parametrize(
        ("code", "name", "flags", "method"),
        [
            (PLAIN + BLOCK, "run_pipeline.py", (), "magnitude"),
            (PLAIN + BLOCK, "run_pipeline.py", ("--pruning-method", "magnitude", "--train-agent"), "magnitude"),
            (PLAIN + BLOCK, "sweep.py", ("--pruning-method", "gradient", "--anything"), "magnitude"),
            (OWN_FLAGS, "sweep.py", ("--pruning-method", "gradient"), "gradient"),
            (OWN_FLAGS, "run_pipeline.py", ("--pruning-method", "gradient", "--train-agent"), "gradient"),
        ],
    )
    def test_a_plain_main_leaves_flags_to_its_script(
        self,
        monkeypatch: pytest.MonkeyPatch,
        runs: Runs,
        code: str,
        name: str,
        flags: tuple[str, ...],
        method: str,
    ) -> None:
        self.start(monkeypatch, code, *flags, name=name)
        assert runs == [(method, list(STAGES), "tiny")]

    def test_a_plain_main_reads_no_flags_where_there_is_no_script(
        self, monkeypatch: pytest.MonkeyPatch, runs: Runs
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["", "--pruning-method", "gradient"])
        monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)  # a notebook, python -c
        main(pruning_method="magnitude")
        assert runs == [("magnitude", list(STAGES), "tiny")]
