"""A study on a cluster to which much happens, compared with one on this machine (`tests.faults --on`)."""

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

from rlottery.storage.locks import holder_of
from rlottery.storage.paths import Store
from tests.faults import ALWAYS, NEVER, Study, count_differing, digests, make_study, start

COMMAND = ("command killed", "command interrupted")
COMMAND_SHARE = 0.05
LONGEST_PAUSE_SECONDS = 15.0
STOPPED = (-signal.SIGKILL, 130)


class Engine(Protocol):
    """A cluster on this machine, and what can be done to a study there.

    Attributes:
        arguments: what a command needs to run there.
        environment: the variables that it needs.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]

    def prepare(self, folder: Path) -> None:
        """Write what a command needs besides the study."""

    def disturb(self, data: Path, chance: random.Random) -> str | None:
        """Do something to the study. Returns what; None if nothing can be done now."""


def endure(engine: Engine, folder: Path, study: Study, faults: int, chance: random.Random) -> Counter[str]:
    """Run a study to its end on a cluster through at most so many faults. Returns how often each kind happened."""
    suffered: Counter[str] = Counter()
    engine.prepare(folder)
    for number, command in enumerate(study.commands, start=1):
        most = faults * number // len(study.commands)
        while True:
            process = start(folder, *command, *engine.arguments, ALWAYS, environment=engine.environment)
            was_stopped = False
            while process.poll() is None:
                if suffered.total() >= most:
                    process.wait()
                elif what := _disturb(engine, folder, process, chance):
                    suffered[what] += 1
                    print(f"{folder.name}, command {number}: {suffered.total()}: {what}", flush=True)
                    was_stopped |= what in COMMAND
            if process.returncode == 0:
                break
            if not was_stopped or process.returncode not in STOPPED:
                log = (folder / "command.log").read_text()
                raise SystemExit(f"{folder.name}: exit code {process.returncode}; its log ends:\n{log[-3000:]}")
    return suffered


def _disturb(engine: Engine, folder: Path, process: subprocess.Popen[str], chance: random.Random) -> str | None:
    """Wait a while, then do something to a study, or to the command that runs it."""
    moment = time.monotonic() + chance.uniform(0.0, LONGEST_PAUSE_SECONDS)
    while time.monotonic() < moment:
        if process.poll() is not None:
            return None
        time.sleep(0.2)
    is_at_work = holder_of(Store(folder / "data").head) is not None  # or else it may never get past its start
    if chance.random() < COMMAND_SHARE and is_at_work:
        what = chance.choice(COMMAND)
        process.send_signal(signal.SIGKILL if what == "command killed" else signal.SIGINT)
        process.wait()
        return what
    with contextlib.suppress(OSError):  # what it looks at ends meanwhile
        return engine.disturb(folder / "data", chance)
    return None


def survives_on(engine: Engine, study: Study, folder: Path, faults: int, per_study: int, chance: random.Random) -> bool:
    """Whether a study on a cluster ends in the bits of one on this machine; what happened is printed."""
    here = make_study(folder / "here", study.config)
    for command in study.commands:
        if code := start(here, *command, NEVER).wait():
            raise SystemExit(
                f"The study on this machine ended with exit code {code}:\n{(here / 'command.log').read_text()}"
            )
    expected = digests(here / "data")
    print(f"The study on this machine has {len(expected)} files to compare.", flush=True)
    suffered: Counter[str] = Counter()
    studies = differing = 0
    while suffered.total() < faults:
        there = make_study(folder / f"there_{studies}", study.config)
        suffered += endure(engine, there, study, min(per_study, faults - suffered.total()), chance)
        studies += 1
        differing += count_differing(there, expected)
    for kind, times in suffered.most_common():
        print(f"  {times:3} {kind}")
    print(f"{suffered.total()} faults, {studies} studies compared, {differing} of their files differ.", flush=True)
    return not differing
