"""Scores in CSV files: tables of many runs, histories of one run, and what Weights & Biases exports from a chart."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rlottery.config.numbers import as_share
from rlottery.errors import StudyError
from rlottery.interop.run_names import Named, Pattern, usual_name
from rlottery.interop.scored_runs import Row
from rlottery.safety.printable import on_one_line

COLUMNS: dict[str, tuple[str, ...]] = {
    "task": ("task", "env", "env_id", "environment", "env_name", "task_id"),
    "arm": ("arm", "algorithm", "algo", "method", "agent", "exp_name"),
    "seed": ("seed", "random_seed", "run_seed"),
    "step": (
        *("step", "steps", "env_steps", "global_step", "timesteps", "total_timesteps", "num_timesteps", "_step"),
        "time/total_timesteps",
    ),
    "score": (
        *("score", "return", "mean_return", "reward", "mean_reward", "episodic_return", "success", "success_rate"),
        *("eval/mean_reward", "eval/return", "eval/mean_return", "eval/episodic_return", "evaluation/return"),
        *("rollout/ep_rew_mean", "charts/episodic_return"),
    ),
    "kind": ("kind",),
    "of": ("of", "control_of"),
    "sparsity": ("sparsity",),
}
"""What a column means -> the names by which it is recognised, in any case of letters."""
KINDS = ("dense", "ticket", "control", "other")
TASK = "the task"
"""What the task is called of runs whose files name none; sentences begin with "On the task"."""

_OF_CHART = " - "
_SPREAD = ("__MIN", "__MAX")


@dataclass
class Naming:
    """How the user's names are read.

    Attributes:
        columns: what a column means -> its name, where the user says so.
        runs: the pattern of names of runs, if the user gives one.
        kinds, controls, sparsity: what columns said of arms; filled while tables are read.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    runs: Pattern | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    controls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sparsity: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, where: str) -> Named:
        """What the name of a run says. Raises StudyError if it says no arm or no seed."""
        named = usual_name(name) if self.runs is None else self.runs.read(name)
        if named is None or named.arm is None or named.seed is None:
            raise StudyError(
                f"{where}: the run is called {on_one_line(name)[:200]!r}, which doesn't say its arm and seed. Say what "
                "such names mean: --names '{arm}-seed{seed}', with * for anything else."
            )
        return named


def read_csv(text: str, path: Path, named: Named, naming: Naming, *, guessed: bool = False) -> Iterator[Row]:
    """The evaluations in a CSV file.

    Args:
        named: what the path says of all of them.
        guessed: whether that is only what paths usually mean: then it counts for files of one run alone.

    Raises:
        StudyError: names file and line, and says what is wrong.
    """
    if not text.strip():
        raise StudyError(f"{path}: the file is empty.")
    header, lines = _table(text, path)
    charts = [name for name in header[1:] if _OF_CHART in name and not name.endswith(_SPREAD)]
    one_run = all(_column(meaning, header, path, naming) is None for meaning in ("arm", "seed"))
    if charts and one_run and _column("score", header, path, naming) is None:
        yield from _of_chart(header, charts, lines, path, named, naming)
    else:
        yield from _of_table(header, lines, path, Named() if guessed and not one_run else named, naming)


def _table(text: str, path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and the number and the fields of each line after them."""
    begin = text[: text.find("\n") if "\n" in text else len(text)]
    separator = max(",;\t", key=begin.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)

    def lines() -> Iterator[tuple[int, list[str]]]:
        try:
            for fields in reader:
                if any(map(str.strip, fields)):
                    yield reader.line_num, [entry.strip() for entry in fields]
        except csv.Error as error:
            raise StudyError(f"{path}:{reader.line_num}: this is not CSV: {error}.") from None

    every = lines()
    _, header = next(every, (0, []))
    if not header:
        raise StudyError(f"{path}: the file has only separators.")
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise StudyError(f"{path}:1: two columns are called {on_one_line(twice[0])[:100]!r}.")
    return header, every


def _of_table(
    header: list[str], lines: Iterator[tuple[int, list[str]]], path: Path, named: Named, naming: Naming
) -> Iterator[Row]:
    """The rows of a table with a column for each thing, or of the history of the run that the path names."""
    at = {meaning: _column(meaning, header, path, naming) for meaning in COLUMNS}
    known = named._asdict()
    for meaning in ("arm", "seed", "score"):
        if at[meaning] is None and known.get(meaning) is None:
            raise StudyError(
                f"{path}:1: there is no column for the {meaning}. The columns are {_listed(header)}. Say which it is: "
                f"--columns {meaning}=NAME" + (_IN_PATH if meaning != "score" else "")
            )
    of_one_run = at["arm"] is None and at["seed"] is None
    empty = True
    for number, fields in lines:
        where = f"{path}:{number}"
        if len(fields) != len(header):
            raise StudyError(f"{where}: {len(fields)} fields, but {len(header)} columns.")

        def entry(meaning: str, fields: list[str] = fields) -> str | None:
            place = at[meaning]
            return None if place is None else fields[place]

        score = entry("score") or ""
        if of_one_run and not score:
            continue  # a logger's row about something else
        empty = False
        task = entry("task") or known["task"] or TASK
        arm = entry("arm") if at["arm"] is not None else str(known["arm"])
        if not arm:
            raise StudyError(f"{where}: the arm is missing.")
        step = entry("step")
        arm = on_one_line(arm)
        _note_kind(arm, entry("kind"), entry("of"), where, naming)
        _note_sparsity(arm, entry("sparsity"), where, naming)
        yield Row(
            task=on_one_line(task),
            arm=arm,
            seed=_seed(entry("seed"), where) if at["seed"] is not None else int(known["seed"]),
            step=None if step is None else _whole(step, "step", where),
            score=_number(score, "score", where),
            where=where,
        )
    if empty:
        raise StudyError(f"{path}: there is no score in this file.")


_IN_PATH = ". Or say where the path has it: --csv 'logs/{task}/{arm}/seed_{seed}/progress.csv'"


def _of_chart(
    header: list[str],
    charts: list[str],
    lines: Iterator[tuple[int, list[str]]],
    path: Path,
    named: Named,
    naming: Naming,
) -> Iterator[Row]:
    """The rows of a chart of Weights & Biases: a column for each run, called ``run - metric``."""
    metrics = dict.fromkeys(name.rpartition(_OF_CHART)[2] for name in charts)
    if len(metrics) > 1:
        raise StudyError(
            f"{path}:1: the columns have several metrics: {_listed(list(metrics))}. Export the chart of one of them."
        )
    runs = {}
    for name in charts:
        of_name = naming.run(name.rpartition(_OF_CHART)[0], f"{path}:1")
        task, arm = of_name.task or named.task or TASK, on_one_line(str(of_name.arm))
        runs[header.index(name)] = Named(on_one_line(task), arm, of_name.seed)
    step_at = _column("step", header, path, naming) or 0
    empty = True
    for number, fields in lines:
        where = f"{path}:{number}"
        if len(fields) != len(header):
            raise StudyError(f"{where}: {len(fields)} fields, but {len(header)} columns.")
        for place, run in runs.items():
            if fields[place]:
                empty = False
                step, score = _whole(fields[step_at], "step", where), _number(fields[place], "score", where)
                yield Row(str(run.task), str(run.arm), int(run.seed or 0), step, score, where)
    if empty:
        raise StudyError(f"{path}: there is no score in this file.")


def _column(meaning: str, header: list[str], path: Path, naming: Naming) -> int | None:
    """The place of a column; None if there is none."""
    given = naming.columns.get(meaning)
    if given is not None:
        if given not in header:
            raise StudyError(f"{path}:1: there is no column {given!r} (--columns). The columns are {_listed(header)}.")
        return header.index(given)
    folded = [name.casefold() for name in header]
    return next((folded.index(name) for name in COLUMNS[meaning] if name in folded), None)


def _note_kind(arm: str, kind: str | None, of: str | None, where: str, naming: Naming) -> None:
    if kind:
        if kind.casefold() not in KINDS:
            raise StudyError(
                f"{where}: the kind {on_one_line(kind)[:100]!r} is unknown. Choose from {', '.join(KINDS)}."
            )
        if naming.kinds.setdefault(arm, kind.casefold()) != kind.casefold():
            raise StudyError(f"{where}: {on_one_line(arm)} is called {kind}, and {naming.kinds[arm]} before.")
    tickets = tuple(map(str.strip, re.split("[;,]", of))) if of else ()
    if tickets and (before := naming.controls.setdefault(arm, tickets)) != tickets:
        raise StudyError(f"{where}: {on_one_line(arm)} is a control of {of}, and of {', '.join(before)} before.")


def _note_sparsity(arm: str, text: str | None, where: str, naming: Naming) -> None:
    if not text:
        return
    share = _number(text, "sparsity", where)
    if not 0 <= share < 1:
        fix = as_share(share, lambda x: 0 <= x < 1)
        raise StudyError(
            f"{where}: the sparsity {share:g} is not the pruned share of the weights, from 0 to below 1{fix}."
        )
    if (before := naming.sparsity.setdefault(arm, share)) != share:
        raise StudyError(f"{where}: {arm} has the sparsity {share:g}, and {before:g} before. Give them two names.")


def _number(text: str, what: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        shown = on_one_line(text)[:100]
        decimal = " Write decimals with a point." if re.fullmatch(r"-?\d+,\d+", text) else ""
        raise StudyError(f"{where}: the {what} {shown!r} is not a number.{decimal}") from None


def _whole(text: str, what: str, where: str) -> int:
    number = _number(text, what, where)
    if not number.is_integer():  # also not if it is NaN or infinite
        raise StudyError(f"{where}: the {what} {on_one_line(text)[:100]!r} is not a whole number.")
    return int(number)


def _seed(text: str | None, where: str) -> int:
    found = re.fullmatch(r"(?:[^\W\d_]\D*)?(\d{1,18})(?:\.0+)?", text or "")  # 3, 3.0 or seed_3
    if found is None:
        raise StudyError(f"{where}: the seed {on_one_line(text or '')[:100]!r} is not a whole number of 0 or more.")
    return int(found[1])


def _listed(names: list[str]) -> str:
    return on_one_line(", ".join(names))[:500]
