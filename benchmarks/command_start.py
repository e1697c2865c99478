"""Processor time of commands that only show something: `rlottery --help`, `arms`, `status` and `doctor`.

    uv run python -m benchmarks.command_start                # a minute
    uv run python -m benchmarks.command_start --code before  # what the rows are called

`status` is that of the study of `rlottery init`, without runs. The commands are started in turns, after a first round
that only compiles what Python keeps. Each figure is the least of all rounds: whatever else the machine does only adds
to it. Seconds of the processor are those of user and system, of the process and its children,
with the start of Python. Those by the wall clock mean something on idle cores only. `python` is what Python itself
takes that imports nothing.

Also counts the modules that a process has imported at its end, without those of its children. Prints everything and
writes benchmarks/results/command_start.csv, where rows of other code or other processors are kept.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from benchmarks.machine import processor_name
from benchmarks.result_tables import write_rows

COMMANDS = {"python": None, "help": ["--help"], "arms": ["arms"], "status": ["status"], "doctor": ["doctor"]}
RUN = "import sys; sys.argv[0] = 'rlottery'; from rlottery.__main__ import main; main()"
COUNT = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), file=sys.stderr)); "


class Used(NamedTuple):
    """What a command takes: seconds of the processor, and by the wall clock."""

    processor_seconds: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", default="now", help="what the rows are called")
    parser.add_argument("--rounds", type=int, default=7, help="how often each command is started")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    asked = parser.parse_args()
    name, rows = processor_name(), list[dict[str, object]]()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", RUN, "init"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, list[Used]] = {command: [] for command in asked.commands}
        for _ in range(1 + asked.rounds):
            for command, of_command in found.items():
                of_command.append(use_of(arguments(command), folder))
        for command, (_, *of_command) in found.items():
            least = Used(*map(min, zip(*of_command, strict=True)))
            modules = number_of_modules(command, folder)
            seconds = {field: f"{value:.2f}" for field, value in least._asdict().items()}
            rows.append({"code": asked.code, "processor": name, "command": command, **seconds, "modules": modules})
    write_rows("command_start.csv", rows, keep=("code", "processor", "command"))


def arguments(command: str) -> list[str]:
    """The words after Python's own name that start a command."""
    words = COMMANDS[command]
    return ["-c", "pass"] if words is None else ["-c", RUN, *words]


def use_of(words: list[str], folder: str) -> Used:
    """What a process of Python with these arguments takes, with its children."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], cwd=folder, env=kept, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed.")
    return Used(used.ru_utime + used.ru_stime, seconds)


def number_of_modules(command: str, folder: str) -> int:
    """How many modules a command has imported when it ends."""
    flag, code, *words = arguments(command)
    counted = [sys.executable, flag, COUNT + code, *words]
    ended = subprocess.run(counted, cwd=folder, check=True, capture_output=True, text=True)
    return int(ended.stderr.split()[-1])


if __name__ == "__main__":
    main()
