"""Stops commands by signals at many moments, from their first to their last, and checks how they end.

uv run python -m tests.signals --moments 20

Every command is stopped by SIGTERM, SIGHUP and Ctrl-C. It must end with exit code 75 or 130, or with the code of its
work if that was done, within some seconds and with one line at most on standard error. No process and no temporary file
may be left. A study that was stopped is continued, and its bits are compared with those of one that was not. Needs
/proc, so Linux.

Python's own start, before the first line of rlottery, takes some hundredths of a second and isn't ours: a command is
stopped only once its signals are handled. The test suite uses the same functions, with fewer moments.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults import ALWAYS, digests, make_study
from tests.started import ends_with_its_test
from tests.study.studies import TINY

CODES = {signal.SIGTERM: 75, signal.SIGHUP: 75, signal.SIGINT: 130}
SAVING_SECONDS, ENDING_SECONDS = 30.0, 6.0
"""The longest that a command may take to end: while it trains, and otherwise."""
DONE_SECONDS = 2.0
"""How long Python may take to end once a command is done."""
MARK = "RLOTTERY_SIGNALS_TEST"
COMMANDS: dict[str, tuple[str, ...]] = {
    "report": ("report",),
    "compare": ("compare", "data", "other", "--to", "{new}"),
    "status": ("status",),
    "verify": ("verify",),
    "check": ("check", "Pendulum-v1"),
    "doctor": ("doctor",),
    "export": ("export", "data/runs/Pendulum-v1/seed_0/dense", "--to", "{new}.npz"),
    "play": ("play", "data/runs/Pendulum-v1/seed_0/dense", "--to", "{new}.mp4"),
    "arms": ("arms",),
    "dry run": ("run", "--dry-run"),
}


class Ended(NamedTuple):
    """How a command ended, and how long it took to do so."""

    code: int
    seconds: float
    errors: str
    received: bool


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`rlottery` with these arguments, in a session of its own. Signals aren't ignored, though this process may."""
    code = (
        "import signal; [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGTERM, signal.SIGHUP)]; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); from rlottery.__main__ import main; main()"
    )
    with (folder / "output.log").open("a") as log, (folder / "errors.log").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]), MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    return ends_with_its_test(process)


def handles_signals(process: subprocess.Popen[str]) -> bool:
    """Whether rlottery's first lines have run: before, SIGTERM has no handler."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def stop(folder: Path, process: subprocess.Popen[str], number: signal.Signals, after: float) -> Ended:
    """Send a signal that many seconds after the command's first line, and wait until it has ended."""
    while not handles_signals(process) and process.poll() is None:
        time.sleep(0.0005)
    deadline = time.monotonic() + after
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(min(0.005, max(0.0, deadline - time.monotonic())))
    received, began = process.poll() is None, time.monotonic()
    process.send_signal(number)
    code = process.wait(timeout=600)
    return Ended(code, time.monotonic() - began, (folder / "errors.log").read_text(), received)


def left_over(folder: Path) -> list[str]:
    """Processes that commands in this folder have left, and temporary files. Processes may take a moment to be gone."""
    entry = f"{MARK}={folder}".encode()
    deadline = time.monotonic() + 5
    while True:
        alive = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if entry in path.read_bytes().split(b"\0"):
                    alive.append(f"process {path.parent.name}")
        if not alive or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return alive + [str(path) for path in folder.rglob(".*") if "partial-" in path.name or "write-test" in path.name]


def faults_of(ended: Ended, number: signal.Signals, longest: float, lines: int = 1) -> list[str]:
    """What was wrong with the end of a command."""
    wrong = []
    # A signal that comes when the exit code is known already changes nothing.
    was_done = ended.code in (0, 1) and (not ended.received or ended.seconds < DONE_SECONDS)
    if ended.code != CODES[number] and not was_done:
        wrong.append(f"exit code {ended.code}")
    if ended.received and ended.seconds > longest:
        wrong.append(f"took {ended.seconds:.1f} s")
    said = [line for line in ended.errors.splitlines() if not line.startswith(("Reading ", "Trying "))]
    if len(said) > lines or "Traceback" in ended.errors:
        wrong.append(f"said {ended.errors!r}")
    if ended.code == CODES[number] and not (said and said[-1].startswith("Stopped")):
        wrong.append("said nothing")
    return wrong


def try_command(
    folder: Path, arguments: Sequence[str], number: signal.Signals, after: float, longest: float = ENDING_SECONDS
) -> list[str]:
    """Stop a command of a finished study once. Returns what was wrong."""
    new = f"new-{time.monotonic_ns()}"
    process = start(folder, *(argument.format(new=new) for argument in arguments))
    ended = stop(folder, process, number, after)
    return faults_of(ended, number, longest) + left_over(folder)


def continue_until_done(folder: Path, stops: Sequence[tuple[signal.Signals, float]], *more: str) -> list[str]:
    """Run a study, stop it as often as asked, then let it end. Returns what was wrong, the time included."""
    wrong = []
    for number, after in stops:
        ended = stop(folder, start(folder, "run", "config.yaml", ALWAYS, *more), number, after)
        found = faults_of(ended, number, SAVING_SECONDS)
        if found:
            wrong.append(f"{number.name} after {after:.2f} s: {', '.join(found)}")
        print(f"run, {number.name} after {after:.2f} s: {ended.code} in {ended.seconds:.2f} s", flush=True)
        alive = [what for what in left_over(folder) if what.startswith("process")]
        wrong += alive
        if not ended.received:
            break
    if (code := start(folder, "run", "config.yaml", ALWAYS, *more).wait()) != 0:
        wrong.append(f"the last run ended with {code}: {(folder / 'errors.log').read_text()}")
    return wrong + left_over(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=12, help="at which each command is stopped")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    chance, counts, wrong = random.Random(given.seed), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="signals-") as place:
        undisturbed, stopped = (make_study(Path(place) / name, TINY) for name in ("undisturbed", "stopped"))
        began = time.monotonic()
        assert start(undisturbed, "run", "config.yaml").wait() == 0, (undisturbed / "errors.log").read_text()
        whole = time.monotonic() - began
        stops = [(chance.choice(list(CODES)), chance.uniform(0, whole)) for _ in range(given.moments)]
        wrong += continue_until_done(stopped, stops)
        counts["run"] = len(stops)
        if digests(undisturbed / "data") != digests(stopped / "data"):
            wrong.append("the bits of a stopped study differ")
        shutil.copytree(undisturbed / "data", undisturbed / "other")
        for name, arguments in COMMANDS.items():
            began = time.monotonic()
            first = [argument.format(new=f"first-{name}") for argument in arguments]
            code = start(undisturbed, *first).wait()
            whole = time.monotonic() - began
            # Pendulum-v1 can't be rendered everywhere.
            if code not in (0, 1) and name != "play":
                wrong.append(f"{name} ends with {code}: {(undisturbed / 'errors.log').read_text()}")
            for moment in range(given.moments):
                number = list(CODES)[moment % len(CODES)]
                after = 0.0 if moment < len(CODES) else chance.uniform(0, whole)
                found = try_command(undisturbed, arguments, number, after)
                counts[name] += 1
                wrong += [f"{name}, {number.name} after {after:.2f} of {whole:.2f} s: {what}" for what in found]
            print(f"{name}: {counts[name]} times", flush=True)
    print("\n".join(wrong))
    print(f"{counts.total()} commands stopped, {len(wrong)} faults.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
