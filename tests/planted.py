"""Attacks by a study of somebody else: every command reads it where modules lie in wait, and none may run.

uv run python -m tests.planted

The study's record, config and manifests name a task, a criterion, arguments and module folders. The current folder, and
the folder of its config, hold modules with the names of Python's own and of packages, and a `matplotlibrc`. Each module
leaves a mark if it runs. The script starts every command that only reads, in each way that commands are started, and
counts those that ran nothing. `tests/test_security.py` does the same in one process, and more.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.config import Config, load_config
from rlottery.storage.disk import write_arrays
from rlottery.storage.manifests import file_entry, read_manifest, read_sealed, write_sealed
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from tests.study.studies import TINY, change_manifest, write_study

TASK, CRITERION = "planted_task:Planted-v0", "planted_score:score"
NAMED = ("planted_task", "planted_score")
SHADOWS = (
    *("argparse", "ast", "base64", "csv", "dataclasses", "difflib", "hashlib", "inspect", "json", "logging", "pathlib"),
    *("queue", "random", "re", "shlex", "shutil", "signal", "socket", "subprocess", "tempfile", "textwrap", "typing"),
    *("gymnasium", "jinja2", "matplotlib", "metaworld", "mujoco", "numpy", "pandas", "pydantic", "rich", "safetensors"),
    *("scipy", "typer", "typing_extensions", "yaml"),
)
"""Modules that commands import, but Python itself doesn't while it starts: it imports those before any of our code."""

_MARK = """
with open({marks!r}, "a") as marks:
    marks.write({name!r} + "\\n")
"""
_BODIES = {
    "planted_task": """
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv

class Planted(PendulumEnv):
    def __init__(self, power=1.0, xml_file="", **kwargs):
        super().__init__(**kwargs)

if "Planted-v0" not in gymnasium.registry:
    gymnasium.register("Planted-v0", entry_point=Planted, max_episode_steps=20)
""",
    "planted_score": "\ndef score(weights):\n    return abs(weights)\n",
}

READING: tuple[tuple[str, ...], ...] = (
    ("status", "data"),
    ("status", "config.yaml"),
    ("verify", "data"),
    ("verify", "config.yaml"),
    ("report", "data"),
    ("report", "config.yaml"),
    ("report", "data", "--stability", "2"),
    ("compare", "data", "config-of-other.yaml", "--to", "compared"),
    ("export", "data/runs/planted_task_Planted-v0/seed_0/dense", "--to", "exported.npz"),
    ("play", "data/runs/planted_task_Planted-v0/seed_0/dense", "--to", "film.mp4"),
    ("check", "data/runs/planted_task_Planted-v0/seed_0/magnitude-80/mask.pkl"),
    ("check", TASK, "--study", "data"),
    ("arms",),
    ("doctor",),
    ("init", "another"),
    ("--help",),
    ("run", "--help"),
)
"""Commands that run nothing of a study: they read it, or refuse to do more."""


class Planted:
    """A folder to work in, with a study of somebody else and modules that leave a mark.

    Attributes:
        folder: the current folder of the commands.
        elsewhere: the folder that the study's record names for its modules.
        marks: the file that modules write their names to.
    """

    def __init__(self, root: Path, *, shadows: bool = True) -> None:
        self.folder, self.elsewhere, self.marks = root / "here", root / "elsewhere", root / "marks"
        for place in (self.folder, self.elsewhere):
            place.mkdir(parents=True)
            for name in (*NAMED, *SHADOWS * shadows):
                text = _MARK.format(marks=str(self.marks), name=name) + _BODIES.get(name, "")
                (place / f"{name}.py").write_text(text)
        (self.folder / "matplotlibrc").write_text("text.usetex: True\nbackend: module://planted_task\n")
        self.data = self.folder / "data"
        for name, data in (("config-of-runs.yaml", "data"), ("config-of-other.yaml", "other")):
            self._write(name, f"data: {data}\n")
            config = load_config(self.folder / name, [f"data={self.folder / data}"])
            write_study(config)
            self._give_agents(config)
        ticket = f"arms:\n  - {{name: own, criterion: '{CRITERION}', sparsity: 0.5}}\n"
        self._write("config.yaml", ticket)
        self.config_file = self.folder / "config.yaml"
        note_command(self.config(), has_work=True)
        self._name_module_folder()

    def copied(self, root: Path) -> "Planted":
        """A copy whose record names its own folder. Its modules leave their marks where those of this one do."""
        shutil.copytree(self.folder.parent, root)
        copy = object.__new__(Planted)
        copy.folder, copy.elsewhere, copy.marks = root / "here", root / "elsewhere", self.marks
        copy.data, copy.config_file = copy.folder / "data", copy.folder / "config.yaml"
        copy._name_module_folder()
        return copy

    def _name_module_folder(self) -> None:
        record = Store(self.data).record
        write_sealed(record, {**read_sealed(record), "module_folders": [str(self.elsewhere)]})

    def config(self) -> Config:
        return load_config(self.config_file, [f"data={self.data}"])

    def run(self, arm: str = "dense") -> Path:
        """The folder of a run."""
        return self.data / "runs" / "planted_task_Planted-v0" / "seed_0" / arm

    def ran(self) -> list[str]:
        """The modules that have run, in order; then they are forgotten."""
        found = self.marks.read_text().split() if self.marks.exists() else []
        self.marks.unlink(missing_ok=True)
        return found

    def _write(self, name: str, more: str) -> None:
        tiny = TINY.replace("tasks: [Pendulum-v1]", f"tasks: [{{id: '{TASK}', kwargs: {{power: 2.0}}}}]")
        if "arms:" in more:
            tiny = "".join(line for line in tiny.splitlines(keepends=True) if not line.startswith("pruning:"))
        (self.folder / name).write_text(tiny + more)

    def _give_agents(self, config: Config) -> None:
        """A whole actor to each run, and what its version records of the task's spaces."""
        sizes, spaces = (
            (3, *config.network.actor, 2),
            {"observation_size": 3, "action_low": [-2.0], "action_high": [2.0]},
        )
        for arm in ("dense", "magnitude-80"):
            files, arrays = Store(config.data).run(config.tasks[0].name, 0, arm), {}
            for index, shape in enumerate(itertools.pairwise(sizes)):
                arrays[f"params.actor.layer_{index}.kernel"] = np.zeros(shape, np.float32)  # as every mask allows
                arrays[f"params.actor.layer_{index}.bias"] = np.ones(shape[1], np.float32)
            write_arrays(files.agent, arrays)
            manifest: Any = read_manifest(files)
            listed = {**manifest["files"], files.agent.name: file_entry(files.agent)}
            change_manifest(files, files=listed, spaces=spaces, seed=0, arm=arm)


def started(planted: Planted, words: tuple[str, ...], way: str) -> subprocess.CompletedProcess[str]:
    """A command, started as a process in the planted folder in one of `WAYS`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    program = [str(Path(sys.executable).with_name("rlottery"))]
    if way == "python -m rlottery":
        program = [sys.executable, "-m", "rlottery"]
    elif way == "PYTHONPATH=: rlottery":
        environment["PYTHONPATH"] = os.pathsep
    elif way == "PYTHONSAFEPATH=1 python -m rlottery":
        environment["PYTHONSAFEPATH"], program = "1", [sys.executable, "-m", "rlottery"]
    elif way == "python run_pipeline.py":
        shutil.copyfile(Path(__file__).parents[1] / "run_pipeline.py", planted.folder / "run_pipeline.py")
        program = [sys.executable, "run_pipeline.py"]
    command = [*program, *words]
    return subprocess.run(command, cwd=planted.folder, env=environment, capture_output=True, text=True, timeout=600)


WAYS = ("rlottery", "python -m rlottery", "PYTHONPATH=: rlottery", "PYTHONSAFEPATH=1 python -m rlottery")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    tried = held = 0
    attacks = [(words, way) for words in READING for way in WAYS]
    attacks += [(("--help",), "python run_pipeline.py")]
    for words, way in attacks:
        with tempfile.TemporaryDirectory() as folder:
            planted = Planted(Path(folder))
            done = started(planted, words, way)
            ran, traceback = planted.ran(), "Traceback" in done.stderr
            tried, held = tried + 1, held + (not ran and not traceback)
            if ran or traceback:
                print(f"{way} {' '.join(words)}: ran {ran or 'nothing'}; exit code {done.returncode}\n{done.stderr}")
    print(f"{tried} tried, {held} held")
    sys.exit(tried != held)


if __name__ == "__main__":
    main()
