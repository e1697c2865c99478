"""The command line: its output, its exit codes, and its messages about bad input, which changes no file."""

import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlottery
from rlottery import pipeline
from rlottery.agents.kernels.library import find
from rlottery.config import default_config_text, load_config
from rlottery.errors import RlotteryError
from rlottery.storage.study_record import note_command
from rlottery.study.execution.executor import JobState, Tracked
from rlottery.version import __version__
from tests.command import call, refusal
from tests.study.studies import TINY, contents, job, write_dense, write_mask, write_study, write_untrained


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the tiny study's config.yaml."""
    (tmp_path / "config.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


class TestBadInput:
    @pytest.mark.parametrize("command", ["run", "status"])
    def test_no_config_file(self, command: str) -> None:
        assert refusal(command, "nosuch.yaml") == (
            "error: nosuch.yaml: there is no such file; `rlottery init` writes a commented one\n"
        )

    def test_bad_yaml(self) -> None:
        Path("config.yaml").write_text("tasks: [a\n")
        assert "config.yaml:2:1: not valid YAML" in refusal("run")

    @pytest.mark.parametrize(
        ("override", "part"),
        [
            ("sac.batchsize=3", "did you mean 'batch_size'?"),
            ("sac.batch_size=0", "sac.batch_size=0: must be a whole number of at least 1, not 0"),
            ("pruning.sparsity=80", "must be a number from 0 to below 1"),
            ("training.warmup_steps=300", "must be less than env_steps"),
            ("nonsense", "expected key.path=value"),
        ],
    )
    def test_a_key_that_is_unknown_or_out_of_range(self, override: str, part: str) -> None:
        assert part in refusal("run", "config.yaml", override)

    def test_unknown_method(self) -> None:
        assert "'taylor'; choose one of: magnitude, gradient" in refusal("run", "--pruning-method", "taylor")

    @pytest.mark.parametrize(
        ("flags", "meant"),
        [
            (("--pruning-method", "gradiant"), "'gradiant'; did you mean 'gradient'?"),
            (("--pruning-method", "Magnitude"), "'Magnitude'; did you mean 'magnitude'?"),
            (("--stages", "dense,masks"), "'masks'; did you mean 'mask'?"),
        ],
    )
    @pytest.mark.parametrize("dry", [[], ["--dry-run"]])
    def test_what_is_misspelt_comes_before_what_else_is_wrong(
        self, flags: tuple[str, ...], meant: str, dry: list[str]
    ) -> None:
        Path("config.yaml").write_text(Path("config.yaml").read_text() + "data: /elsewhere\ncolour: red\n")
        code, output, message = call("run", *flags, *dry)
        assert (code, output) == (2, "") and message.endswith(f"{meant}\n")
        with pytest.raises(RlotteryError, match="did you mean 'gradient'"):
            rlottery.main(pruning_method="gradiant")  # type: ignore[arg-type]

    @pytest.mark.parametrize("dry", [[], ["--dry-run"]])
    def test_unknown_stage(self, dry: list[str]) -> None:
        assert "'tiket'; did you mean 'ticket'?" in refusal("run", "--stages", "dense,tiket", *dry)
        assert "'all'. Choose from: dense, mask, ticket." in refusal("run", "--stages", "all", *dry)

    @pytest.mark.parametrize(
        ("task", "part"),
        [
            ("Pendlum-v1", "Did you mean Pendulum-v1"),
            ("Pendulum", "has no version, so it would be another task once there is a newer one. Write Pendulum-v1."),
            ("drawer-clos-v3", "Did you mean drawer-close-v3"),
            ("CartPole-v1", "and SAC learns continuous ones. Set algorithm to dqn or ppo, or choose a task"),
            ("nosuchmodule:Foo-v0", "nosuchmodule"),
        ],
    )
    def test_an_unsuitable_task(self, task: str, part: str) -> None:
        assert part in refusal("run", f"tasks=[{task}]")

    @pytest.mark.parametrize("dry", [[], ["--dry-run"]])
    def test_images(self, workplace: Path, dry: list[str]) -> None:
        (workplace / "pictures.py").write_text(PICTURES)
        assert "FlattenObservation" in refusal("run", "tasks=[pictures:Pictures-v0]", *dry)

    @pytest.mark.parametrize("folder", ["config.yaml", "config.yaml/data"])
    @pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["status"]])
    def test_a_data_folder_below_a_file(self, folder: str, command: list[str]) -> None:
        message = refusal(*command, f"data={folder}")
        assert "config.yaml is a file" in message and "data=FOLDER" in message

    def test_kernels_that_there_are_none_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        find.cache_clear()
        monkeypatch.setenv("RLOTTERY_KERNELS", "fast")
        assert "RLOTTERY_KERNELS=fast: choose off, avx512, avx2, portable" in refusal("run")

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here that refuses everyone")
    def test_a_data_folder_that_cannot_be_written(self) -> None:
        assert "The data folder /proc/data can't be written" in refusal("run", "data=/proc/data")

    def test_masks_without_a_dense_agent(self) -> None:
        assert "Dense agent not found" in refusal("run", "--stages", "mask")

    def test_gradients_without_a_replay_buffer(self, workplace: Path) -> None:
        dense = write_dense(load_config("config.yaml"))
        (dense.files.replay / "rewards.npy").unlink()
        message = refusal("run", "--stages", "mask", "--pruning-method", "gradient")
        assert message.startswith("error: Replay buffer not found")
        assert "main(train_agent=True, create_ticket=False, run_ticket=False)" in message

    def test_tickets_without_a_mask(self) -> None:
        write_dense(load_config("config.yaml"))
        assert "Mask not found: data/masks/Pendulum-v1_seed_0.pkl" in refusal("run", "--stages", "ticket")

    @pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"actor": print})])
    def test_tickets_of_a_mask_that_is_none(self, content: bytes) -> None:
        config = load_config("config.yaml")
        write_dense(config)
        write_mask(config).mask_path.write_bytes(content)
        assert "Pendulum-v1_seed_0.pkl can't be used as a mask" in refusal("run", "--stages", "ticket")

    def test_a_study_of_another_config(self) -> None:
        write_study(load_config("config.yaml"))
        message = refusal("run", "sac.batch_size=128")
        assert "sac.batch_size: the files have 256, this config asks for 128" in message

    def test_meta_world_that_cannot_be_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "metaworld.py").write_text("import no_such_library")
        monkeypatch.syspath_prepend(tmp_path)
        assert "Meta-World's tasks need a package that can't be imported" in refusal("run", "tasks=[drawer-close-v3]")

    def test_exit_code_and_message_of_the_process(self, workplace: Path) -> None:
        code = "from rlottery.cli import app; app()"
        result = subprocess.run([sys.executable, "-c", code, "run", "nosuch.yaml"], capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("error: nosuch.yaml") and len(result.stderr.splitlines()) == 1


PICTURES = """
import gymnasium
import numpy as np

class Pictures(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

gymnasium.register("Pictures-v0", Pictures)
"""


class TestDryRun:
    def test_shows_runs_time_and_disk_and_writes_nothing(self, workplace: Path) -> None:
        before = contents(workplace)
        code, output, message = call("run", "--dry-run", "--pruning-method", "gradient", "seeds=[0, 1]")
        assert (code, message) == (0, "")
        assert len([line for line in output.splitlines() if "to do" in line]) == 5
        for part in ("seed 1 taylor-80-2x8", "time", "disk, MB", "core hours", "Nothing was started"):
            assert part in " ".join(output.split())
        assert "To compare both methods, --pruning-method magnitude adds 2 runs: about" in " ".join(output.split())
        assert contents(workplace) == before

    def test_of_a_finished_study_measures_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rlottery.study.resources.estimate.call_in_child", None)
        config = load_config("config.yaml")
        write_study(config)
        write_untrained(config, -1000.0, -1000.0)
        assert "Nothing is left to do" in call("run", "--dry-run")[1]


class TestStatus:
    def test_nothing_yet(self, workplace: Path) -> None:
        assert call("status")[1].splitlines()[-2].split() == ["Pendulum-v1", "0", "dense", "to", "do"]
        assert not (workplace / "data").exists()

    def test_with_overrides_alone(self) -> None:
        code, output, _ = call("status", "seeds=[7, 8]")
        assert code == 0
        assert [line.split()[1] for line in output.splitlines()[3:-1]] == ["7", "8"]

    def test_done(self) -> None:
        write_study(load_config("config.yaml"))
        output = call("status")[1]
        assert output.count("done") == 3 and output.endswith("2 of 2 runs done. Untrained policies: 1 task to do.\n")


class TestDataFolders:
    """status and verify take what report takes."""

    @pytest.fixture(autouse=True)
    def study(self) -> None:
        config = load_config("config.yaml", ["seeds=[0, 1]"])
        write_study(config)
        note_command(config, has_work=True)

    def test_status(self) -> None:
        code, output, _ = call("status", "data")
        assert code == 0 and output.endswith("4 of 4 runs done. Untrained policies: 1 task to do.\n")

    def test_verify(self) -> None:
        assert call("verify", "data/") == call("verify", "config.yaml", "seeds=[0, 1]")
        job(load_config("config.yaml"), "dense", seed=1).files.agent.write_bytes(b"damaged")
        code, output, _ = call("verify", "data")
        assert code == 1 and "seed_1/dense/agent.safetensors" in output

    @pytest.mark.parametrize("command", ["status", "verify"])
    def test_what_is_none(self, command: str) -> None:
        assert "There is no study at nowhere" in refusal(command, "nowhere")
        assert "data is a data folder, and keys can be set only for a config file." in refusal(
            command, "data", "seeds=[0]"
        )
        Path("photos").mkdir()
        assert "photos is empty" in refusal(command, "photos")


class TestInit:
    def test_writes_the_default_study(self) -> None:
        code, output, _ = call("init", "mine.yaml")
        assert code == 0 and "rlottery run mine.yaml" in output
        assert Path("mine.yaml").read_text() == default_config_text()
        load_config("mine.yaml")

    def test_starts_a_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        code, output, _ = call("init", "new/study")
        assert code == 0 and "cd new/study\n" in output and "rlottery run " in output
        assert Path("new/study/config.yaml").read_text() == default_config_text()
        shipped = Path(__file__).parent.parent / "run_pipeline.py"
        assert Path("new/study/run_pipeline.py").read_bytes() == shipped.read_bytes()
        Path("empty").mkdir()
        monkeypatch.chdir("empty")
        code, output, _ = call("init")
        assert code == 0 and "cd " not in output
        assert {path.name for path in Path().iterdir()} == {"config.yaml", "run_pipeline.py"}

    def test_leaves_a_file_alone(self) -> None:
        assert "config.yaml already exists" in refusal("init")
        assert "config.yaml already exists" in refusal("init", "config.yaml")
        Path("config.yaml").rename("run_pipeline.py")
        assert "run_pipeline.py already exists" in refusal("init")

    def test_the_advice_for_a_profile_has_its_flag(self) -> None:
        assert call("init", "--cluster", "slurm")[0] == 0
        for path in ([], ["cluster.yaml"]):
            message = refusal("init", "--cluster", "slurm", *path)
            assert "cluster.yaml already exists" in message and "rlottery init --cluster slurm FOLDER" in message
        assert call("init", "--cluster", "slurm", "other")[0] == 0

    def test_where_nothing_can_be_written(self) -> None:
        assert "can't be written" in refusal("init", "config.yaml/mine.yaml")


class TestHelp:
    def words(self, *arguments: str) -> str:
        code, output, _ = call(*arguments)
        assert code == 0
        return " ".join(re.sub(r"[│╭╮╰╯─]", " ", output).split())

    def test_names_the_commands(self) -> None:
        words = self.words("--help")
        for command in ("run", "status", "doctor", "init"):
            assert f" {command} " in words

    def test_of_run(self) -> None:
        words = self.words("run", "--help")
        assert "[CONFIG] [KEY.PATH=VALUE]..." in words
        for part in ("--pruning-method", "--stages", "dense,mask,ticket", "--dry-run", "sac.batch_size=128", "130"):
            assert part in words

    def test_without_a_command(self) -> None:
        assert "Usage" in call()[1]

    def test_version(self) -> None:
        assert call("--version")[1] == f"{__version__}\n"


def test_a_run_that_is_done_says_so_and_ends_well() -> None:
    config = load_config("config.yaml")
    write_study(config)
    write_untrained(config, *[-1000.0] * config.evaluation.untrained_policies)
    masks = contents(job(config, "mask").mask_path.parent)
    code, output, _ = call("run")
    assert code == 0
    assert output.splitlines()[1] == "All 2 runs of this command are already done."
    assert contents(job(config, "mask").mask_path.parent) == masks


class TestPackage:
    def test_python_m_rlottery_is_the_command(self) -> None:
        result = subprocess.run([sys.executable, "-m", "rlottery", "--version"], capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (0, f"{__version__}\n")
        assert (
            "Usage: rlottery "
            in subprocess.run(
                [sys.executable, "-m", "rlottery", "init", "--help"], capture_output=True, text=True
            ).stdout
        )

    def test_help_imports_nothing_heavy(self) -> None:
        heavy = {"jax", "numpy", "pandas", "scipy", "pydantic", "gymnasium", "matplotlib", "av"}
        code = f"import sys, rlottery.cli; print(sorted({heavy} & sys.modules.keys()))"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"

    @pytest.mark.parametrize("command", ["status", "arms"])
    def test_what_shows_a_study_imports_nothing_that_analyses_or_trains(self, command: str) -> None:
        names = {"jax", "scipy", "pandas", "gymnasium", "matplotlib", "av", "multiprocessing", "statistics"}
        own = ("analysis", "envs", "training", "report.tables", "study.versions", "study.execution.worker")
        names |= {f"rlottery.{name}" for name in own}
        heavy = f"sorted({names} & sys.modules.keys())"
        code = f"import sys; from rlottery.cli import app; app(['{command}'], standalone_mode=False); print({heavy})"
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        assert output.splitlines()[-1] == "[]"

    def test_public_names(self) -> None:
        assert set(rlottery.__all__) <= set(dir(rlottery))
        assert rlottery.main is pipeline.main and rlottery.RlotteryError is RlotteryError
        assert all(getattr(rlottery, name) is not None for name in rlottery.__all__)

    def test_an_outcome_is_one_line(self) -> None:
        config = load_config("config.yaml")
        states = (JobState.FOUND, JobState.DONE, JobState.DONE, JobState.FAILED)
        tracked = [Tracked(job(config, "dense"), state) for state in states]
        assert repr(rlottery.Outcome(tracked, None)) == "<Outcome of 4 jobs: 1 already done, 2 done, 1 failed>"  # type: ignore[arg-type]
        assert repr(rlottery.Outcome([], None, signal.SIGINT)) == "<Outcome of 0 jobs; stopped by SIGINT>"  # type: ignore[arg-type]
