"""Scores of runs that were made elsewhere, from the files of any tool."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rlottery.errors import StudyError
from rlottery.interop.run_names import Named, Pattern, usual_name
from rlottery.interop.sb3_results import MONITOR, Monitored, read_evaluations
from rlottery.interop.score_csv import COLUMNS, Naming, read_csv
from rlottery.interop.scored_runs import Elsewhere, Row, runs_of
from rlottery.safety.file_kind import file_kind
from rlottery.safety.npz import BEGINNINGS
from rlottery.safety.regular_files import NotRegularError, read_bytes
from rlottery.storage.paths import CONFIG, Store

MAX_RESULT_BYTES = 256 * 2**20
"""Largest file of results that is read, and the most that its arrays may need."""

_IN_FOLDERS = ("evaluations.npz", "*monitor.csv", "*.csv")
"""What is looked for in a folder: the first of these that it has."""
_MOST_FOLDERS = 100
"""In how many folders such files are looked for where a study was to be given."""
_CALLED_BY_FOLDER = ("evaluations.npz", "monitor.csv", "progress.csv")
"""Files that have the same name in every run, so that the folder says which run it is."""


_GIVE = "a CSV, or monitor.csv or evaluations.npz of Stable-Baselines3 (docs/made-elsewhere.md)."
_SHEETS = (".xlsx", ".xls", ".ods")


class _File(NamedTuple):
    path: Path
    named: Named
    guessed: bool


def read_results(sources: Sequence[str], naming: Naming, metric: str = "return", episodes: int = 10) -> Elsewhere:
    """The runs in files of results.

    Args:
        sources: files, folders, or patterns of paths with {task}, {arm} and {seed}.
        metric: "success" reads success rates where Stable-Baselines3 has both.
        episodes: how many training episodes of a monitor file make an evaluation.

    Raises:
        StudyError: names the file and the line, and says what is wrong.
    """
    if unknown := [meaning for meaning in naming.columns if meaning not in COLUMNS]:
        raise StudyError(f"--columns {unknown[0]}=...: unknown. A column may be the {', '.join(COLUMNS)}.")
    rows: list[Row] = []
    told: list[str] = []
    monitored: dict[Named, tuple[Monitored, Path, int]] = {}
    for file in (file for source in sources for file in _files(source, told)):
        data, before = _content(file.path), len(rows)
        if (kind := file_kind(data)) not in (None, "a text file", "a ZIP archive"):
            raise StudyError(f"{file.path}: this is {kind}, not a file of results. Give {_GIVE}")
        if file.path.suffix in _SHEETS:
            raise StudyError(f"{file.path}: this is a spreadsheet. Save the sheet as CSV.")
        if data.startswith(BEGINNINGS):
            rows += read_evaluations(data, file.path, file.named, metric, MAX_RESULT_BYTES)
        elif data.startswith(MONITOR):
            of_run, first, number = monitored.get(file.named, (Monitored(), file.path, 0))
            of_run.add(_text(data, file.path), file.path, metric)
            monitored[file.named] = (of_run, first, number + 1)
            continue
        else:
            rows += read_csv(_text(data, file.path), file.path, file.named, naming, guessed=file.guessed)
        told.append(f"{file.path}: {len(rows) - before:,} scores")
    for named, (of_run, path, number) in monitored.items():
        before = len(rows)
        rows += of_run.rows(named, path, episodes)
        files = str(path) if number == 1 else f"{number} files in {path.parent}"
        told.append(f"{files}: training episodes, {len(rows) - before:,} means of {episodes}")
    if metric == "success" and (wrong := next((row for row in rows if not 0 <= row.score <= 1), None)):
        raise StudyError(f"{wrong.where}: {wrong.score:g} is no success rate, which is between 0 and 1.")
    return Elsewhere(
        *(runs_of(rows), naming.kinds, naming.controls, naming.sparsity, tuple(told)), training=bool(monitored)
    )


def are_results(source: str) -> bool:
    """Whether a path means files of results rather than a study. Opens no file, and looks into few folders."""
    path = Path(source)
    if path.is_dir():
        is_study = (path / CONFIG).is_file() or Store(path).runs.is_dir()
        files = (name for _, _, names in islice(os.walk(path), _MOST_FOLDERS) for name in names)
        return not is_study and any(fnmatch(name, kind) for name in files for kind in _IN_FOLDERS)
    return path.suffix.lower() in (".csv", ".tsv", ".npz", *_SHEETS) or ("{" in source and not path.exists())


def _files(source: str, told: list[str]) -> Iterator[_File]:
    """The files that a source means. Adds a line to `told` if a folder has others that aren't read."""
    if "{" in source:
        for path, named in Pattern(source).files().items():
            yield _File(path, named, guessed=False)
        return
    path = Path(source).expanduser()
    if not path.is_dir():
        yield _File(path, _guess(path), guessed=True)
        return
    kinds = [sorted(path.rglob(kind)) for kind in _IN_FOLDERS]
    found = next((files for files in kinds if files), [])
    if not found:
        raise StudyError(f"{path}: this folder has no {', '.join(_IN_FOLDERS)}.")
    if others := sorted(set().union(*kinds) - set(found)):
        told.append(f"{path}: left out {len(others):,} CSV files, such as {others[0]}. Name files to read others.")
    for each in found:
        yield _File(each, _guess(each), guessed=True)


def _guess(path: Path) -> Named:
    """What a path usually means: of the folder, for files that are called alike in every run, else of the file."""
    by_folder = path.name.endswith(_CALLED_BY_FOLDER)
    name = path.absolute().parent.as_posix() if by_folder else path.absolute().with_suffix("").as_posix()
    return usual_name(name) or Named()


def _content(path: Path) -> bytes:
    try:
        data = read_bytes(path, MAX_RESULT_BYTES)
    except FileNotFoundError:
        raise StudyError(f"{path}: there is no such file.") from None
    except NotRegularError:
        raise StudyError(f"{path}: this is not a regular file.") from None
    except (OSError, ValueError) as error:  # ValueError: too large, or a null character in the path
        raise StudyError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.") from None
    if not data:
        raise StudyError(f"{path}: the file is empty. Give {_GIVE}")
    return data


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StudyError(f"{path}:{line}: this is not UTF-8 text, so it isn't a file of results.") from None
