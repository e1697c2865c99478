"""Tests that wait for other processes, and a study whose runs wait for the tests."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

from rlottery.config import load_config
from rlottery.seeding import Streams
from tests.study.studies import TINY

PATIENCE_SECONDS = 600.0
"""Far longer than anything takes on a slow and busy machine."""
EPISODE_STEPS = 10
TASK = "held:Held-v0"
"""Pendulum with short episodes."""
STUDY = TINY.replace("Pendulum-v1", TASK).replace(
    "env_steps: 300, warmup_steps: 100", "env_steps: 600, warmup_steps: 300"
)
"""A dense agent and its ticket, of 60 episodes each."""
_HELD = f"""\
import time
from pathlib import Path

import gymnasium
from gymnasium.envs.classic_control.pendulum import PendulumEnv

class Held(PendulumEnv):
    def reset(self, *, seed=None, options=None):
        give_up = time.monotonic() + 2.0
        for hold in Path(__file__).parent.glob("*.hold"):
            while seed in seeds_of(hold) and time.monotonic() < give_up:
                hold.with_suffix(".reached").touch()
                time.sleep(0.01)
        return super().reset(seed=seed, options=options)

def seeds_of(hold):
    try:
        return [int(seed) for seed in hold.read_text().split()]
    except FileNotFoundError:
        return []

gymnasium.register("Held-v0", Held, max_episode_steps={EPISODE_STEPS})
"""


def wait_for(holds: Callable[[], object], process: "Popen[Any] | None" = None) -> None:
    """Wait until a condition holds. Fails if it takes too long, or if `process` ends first."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, f"ended with {process.returncode} before it holds"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    """Whether a process still runs. A zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()


def wait_until_dead(process: int) -> None:
    """Wait until a process that was killed has ended; its parent may never ask how it did."""
    wait_for(lambda: not is_alive(process))


def make_study(folder: Path, config: str = STUDY) -> Path:
    """A folder with a study whose runs can be held."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "held.py").write_text(_HELD)
    return folder


def without_runs(finished: Path, folder: Path) -> Path:
    """A copy of a study without its runs and masks. Its task has been tried, and its untrained policies are scored.

    A command would start a process for each of the two.
    """
    shutil.copytree(finished, folder)
    for name in ("runs", "masks"):
        shutil.rmtree(folder / "data" / name)
    return folder


class Hold:
    """Keeps a run where it is: until it is released, each training episode begins 2 seconds late.

    It is late and not stopped, so that a run which is asked to save at the end of its episode can do so. Nothing that a
    run ends with depends on it.

    Args:
        study: a folder that `make_study` has made.
        from_step: the first step of the first episode that begins late.
    """

    def __init__(self, study: Path, arm: str, seed: int = 0, *, from_step: int = 400):
        config = load_config(study / "config.yaml")
        streams = Streams(config.name, config.tasks[0].name, seed, arm)
        episodes = range(from_step // EPISODE_STEPS, config.training.env_steps // EPISODE_STEPS)
        self._file = study / f"{arm}-{seed}.hold"
        self._file.write_text(" ".join(str(streams.for_purpose("episode", n) % 2**31) for n in episodes))

    def is_reached(self) -> bool:
        """Whether the run has come there. If it saves after each episode, it has saved what it did before."""
        return self._file.with_suffix(".reached").exists()

    def release(self) -> None:
        self._file.unlink()
