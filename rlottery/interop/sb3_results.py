"""What Stable-Baselines3 logs of a run: `evaluations.npz` of its EvalCallback, and `monitor.csv` of its Monitor."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import StudyError
from rlottery.interop.run_names import Named
from rlottery.interop.score_csv import TASK
from rlottery.interop.scored_runs import Row
from rlottery.safety.npz import read_npz
from rlottery.safety.printable import on_one_line

MONITOR = b"#{"
"""How a monitor file begins."""


def read_evaluations(data: bytes, path: Path, named: Named, metric: str, limit: int) -> Iterator[Row]:
    """The evaluations in `evaluations.npz`: `timesteps` (n,) and `results` (n, episodes), and `successes` if there.

    Raises:
        StudyError: it is no such file, or lacks what the metric needs.
    """
    try:
        arrays = read_npz(data, limit)
    except ValueError as error:
        other = " Of ZIP archives, only evaluations.npz of Stable-Baselines3 is a file of results."
        raise StudyError(f"{path} can't be read: {error}.{'' if path.suffix == '.npz' else other}") from None
    name = "successes" if metric == "success" else "results"
    steps, results = arrays.get("timesteps"), arrays.get(name)
    if steps is None or results is None:
        raise StudyError(
            f"{path}: it has no array {'timesteps' if steps is None else name}, but {', '.join(arrays)[:200]}."
        )
    if not results.size:
        raise StudyError(f"{path}: there is no evaluation in it: {name} has the shape {results.shape}.")
    results = results.reshape(len(results), -1) if results.ndim else results
    if steps.ndim != 1 or results.ndim != 2 or len(steps) != len(results):
        raise StudyError(f"{path}: timesteps {steps.shape} and {name} {results.shape} don't fit together.")
    if steps.dtype.kind not in "iu" or results.dtype.kind not in "biuf":
        raise StudyError(f"{path}: timesteps and {name} must be numbers.")
    task, arm, seed = _run(named, path)
    for index, (step, episodes) in enumerate(zip(steps.tolist(), results.astype(np.float64), strict=True)):
        where = f"{path}, evaluation {index}"
        yield Row(task, arm, seed, step, float(np.mean(episodes)), where, episodes.tolist())


class Monitored:
    """The training episodes of one run, of the files of all its environments.

    Attributes:
        task: as the files say.
    """

    def __init__(self) -> None:
        self.task: str | None = None
        self._episodes: list[tuple[float, float, int, str]] = []

    def add(self, text: str, path: Path, metric: str) -> None:
        """Read a monitor file. Raises StudyError with file and line."""
        begin, _, rest = text.partition("\n")
        try:
            about: Any = json.loads(begin.removeprefix("#"))
            started = float(about["t_start"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise StudyError(f"{path}:1: this is not the first line of a monitor file.") from None
        if isinstance(about.get("env_id"), str) and about["env_id"] not in ("", "None"):
            self.task = on_one_line(about["env_id"])
        reader = csv.DictReader(io.StringIO(rest))
        try:
            self._add_episodes(reader, started, path, metric)
        except csv.Error as error:
            raise StudyError(f"{path}:{reader.reader.line_num + 1}: this is not CSV: {error}.") from None

    def _add_episodes(self, reader: "csv.DictReader[str]", started: float, path: Path, metric: str) -> None:
        score = next((name for name in ("is_success", "success") if name in (reader.fieldnames or ())), "success")
        wanted = score if metric == "success" else "r"
        for name in (wanted, "l", "t"):
            if name not in (reader.fieldnames or ()):
                raise StudyError(f"{path}:2: there is no column {name!r}. The columns are {reader.fieldnames}.")
        for row in reader:
            where = f"{path}:{reader.line_num + 1}"
            try:
                value = {"True": 1.0, "False": 0.0}.get(row[wanted] or "")
                value = float(row[wanted]) if value is None else value
                length, ended = int(row["l"]), float(row["t"])
            except (TypeError, ValueError):
                raise StudyError(
                    f"{where}: this is not an episode: {on_one_line(str(list(row.values())))[:200]}."
                ) from None
            if not math.isfinite(value) or length < 1 or not math.isfinite(ended):
                raise StudyError(f"{where}: an episode of {length} steps with the score {value}.")
            self._episodes.append((started + ended, value, length, where))

    def rows(self, named: Named, path: Path, episodes: int) -> Iterator[Row]:
        """Each evaluation is the mean of `episodes` training episodes that ended one after the other.

        Raises:
            StudyError: there are fewer.
        """
        task, arm, seed = _run(named._replace(task=named.task or self.task), path)
        ended = sorted(self._episodes)
        if len(ended) < episodes:
            raise StudyError(
                f"{path}: the run has {len(ended)} episodes, and {episodes} make an evaluation. Set "
                f"evaluation.episodes={max(1, len(ended))} on the command line."
            )
        steps = 0
        for first in range(0, len(ended) - episodes + 1, episodes):
            block = ended[first : first + episodes]
            steps += sum(length for _, _, length, _ in block)
            values = [value for _, value, _, _ in block]
            yield Row(task, arm, seed, steps, float(np.mean(values)), block[-1][3], values)


def _run(named: Named, path: Path) -> tuple[str, str, int]:
    if named.arm is None or named.seed is None:
        raise StudyError(
            f"{path}: its path doesn't say the arm and the seed. Say what the folders mean: "
            "--csv 'logs/{arm}/seed_{seed}/" + path.name + "', with {task} and * where they are needed."
        )
    return on_one_line(named.task or TASK), on_one_line(named.arm), named.seed
