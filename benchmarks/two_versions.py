"""Time of whole commands and studies in two checkouts, in turns, each from the start of its process to its end.

    uv run python -m benchmarks.two_versions OLD_CHECKOUT NEW_CHECKOUT [--config configs/smoke.yaml] [--rounds 5]

Each checkout has been installed into its own .venv (`uv sync`). A study runs in a new folder each time. Each version
has its own cache folder, empty at first: the first round shows what a new user waits for, the later ones what everybody
else does. Prints wall-clock and processor seconds, medians over the later rounds, and writes all rounds to
benchmarks/results/two_versions.csv, where rows of other configs and processors stay. Needs idle cores: processor
seconds also grow when cores are shared.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.machine import processor_name
from benchmarks.result_tables import write_rows

COMMANDS = {"--help": ("--help",), "status": ("status", "study.yaml"), "arms": ("arms",), "run": ("run", "study.yaml")}
"""What is timed, in this order in each round. `status` sees an empty study, `run` does all of it."""


class Time(NamedTuple):
    """Seconds of one command and all that it has started: on the clock, and of processors."""

    version: str
    command: str
    round: int
    wall: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--config", type=Path, default=Path("configs/smoke.yaml"))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    versions = {"old": given.old.absolute(), "new": given.new.absolute()}
    config = given.config.read_text()
    where = {"config": given.config.name, "machine": processor_name()}
    commits = {version: commit_of(checkout) for version, checkout in versions.items()}
    with tempfile.TemporaryDirectory() as place:
        times = [
            timed
            for number in range(given.rounds)
            for version in (versions if number % 2 == 0 else reversed(versions))
            for timed in one_round(version, versions[version], number, config, Path(place))
        ]
    rows = [
        where
        | {"version": one.version, "commit": commits[one.version], "command": one.command, "round": one.round}
        | {"wall": f"{one.wall:.2f}", "processor": f"{one.processor:.2f}"}
        for one in times
    ]
    write_rows("two_versions.csv", rows, keep=tuple(where))
    print("\n".join(lines(times)))


def commit_of(checkout: Path) -> str:
    """The short name of the commit that a checkout has."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def one_round(version: str, checkout: Path, number: int, config: str, place: Path) -> list[Time]:
    """The times of all commands, by a version in a checkout."""
    cache = place / f"cache-{version}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"XDG_CACHE_HOME": str(cache), "XDG_STATE_HOME": str(cache)}
    with tempfile.TemporaryDirectory(dir=place) as folder:
        (Path(folder) / "study.yaml").write_text(config)
        return [
            Time(version, name, number, *seconds([str(checkout / ".venv/bin/rlottery"), *words], folder, environment))
            for name, words in COMMANDS.items()
        ]


def seconds(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """The seconds of a command on the clock and of processors."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def lines(times: Sequence[Time]) -> list[str]:
    """A line per command and kind of round: seconds of both versions, and how many times faster the new one is."""
    found = []
    for command in dict.fromkeys(one.command for one in times):
        for kind, rounds in (("first", [0]), ("later", sorted({one.round for one in times} - {0}))):
            of = {
                version: [
                    one for one in times if (one.version, one.command) == (version, command) and one.round in rounds
                ]
                for version in ("old", "new")
            }
            if not all(of.values()):
                continue
            wall = {version: median(one.wall for one in some) for version, some in of.items()}
            processor = {version: median(one.processor for one in some) for version, some in of.items()}
            faster = f"{wall['old'] / wall['new']:.2f} times as fast"
            on_clock, of_processors = (f"{one['old']:.2f} s -> {one['new']:.2f} s" for one in (wall, processor))
            found.append(f"{command:7} {kind}: {on_clock} ({faster}), processors {of_processors}")
    return found


if __name__ == "__main__":
    main()
