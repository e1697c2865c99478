"""The report of a study: written at the end of every run, or when it is asked for; and that of several."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from rlottery.analysis.runs import other_settings_lines
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.contents import Contents
from rlottery.report.films import films_of
from rlottery.report.gather import gather
from rlottery.report.table import render
from rlottery.report.words import count
from rlottery.storage.paths import DENSE, Store
from rlottery.storage.study_record import note_command


def report_folder(config: Config, to: Path | None) -> Path:
    """Where a study's report goes: `to`, or a folder in its data. Call it before long work.

    Raises:
        StudyError: nothing can be written there, or something of that name is there already that no report wrote.
    """
    if to is None:
        check_can_be_written(Store(config.data).report)
        return Store(config.data).report
    check_can_be_written(to)
    # A report removes the figures and tables of the one before it.
    if not (to / "report.html").exists():
        for name in ("figures", "tables"):
            if (to / name).exists():
                raise StudyError(f"{to / name} is there, and no report wrote it. Choose another folder: --to FOLDER")
    return to


def check_can_be_written(folder: Path) -> None:
    """Raises StudyError unless files can be made in a folder, which may have to be made itself."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        if nearest.is_dir():
            with tempfile.TemporaryFile(dir=nearest):
                return
        why = f"{nearest} is a file"
    except OSError as error:
        why = str(error.strerror)
    raise StudyError(f"The report can't be written to {folder}: {why}. Choose another folder: --to FOLDER")


def report_study(config: Config, console: Console, to: Path | None = None) -> None:
    """Show the closing table of what the store holds, and write the report; and the study's record where it has none.

    Args:
        to: the report's folder, in the place of the one in the data folder.

    Raises:
        StudyError: the report can't be written.
    """
    store, folder = Store(config.data), report_folder(config, to)
    store.check_links()
    _tell_of_reading(config)
    contents = gather(store, config)
    console.print(render(contents))
    console.print()
    say = _sayer(console)
    if to is None and not store.record.exists():
        _begin_record(store, config, contents, say)
    publish(store, config, contents, say, folder)


def _begin_record(store: Store, config: Config, contents: Contents, say: Callable[[str], None]) -> None:
    """Note the settings of a study whose data folder tells of none, where they are those of all that is there."""
    asked = {store.run(task.name, seed, DENSE).folder.parent for task in config.tasks for seed in config.seeds}
    beyond = sorted(set(store.runs.glob("*/seed_*")) - asked)
    if other_settings_lines(config, contents.runs):
        say(f"{store.record} is not there, and is not written: runs have other settings than these. Set the same keys.")
    elif beyond:
        say(f"{store.record} is not there, and is not written: these settings don't ask for what is in {beyond[0]}.")
    else:
        try:
            note_command(config, has_work=False)
        except OSError as error:
            say(f"{store.record} can't be written: {error.strerror}.")


def publish(
    store: Store, config: Config, contents: Contents, say: Callable[[str], None], folder: Path | None = None
) -> None:
    """Write a report's files, and say where they are.

    Args:
        folder: where to; None for the store's own. Films are kept in the store.

    Raises:
        StudyError: they can't be written.
    """
    from rlottery.report.files import write_report  # matplotlib takes a second, which --help need not wait for

    folder = store.report if folder is None else folder
    try:
        films, why_not = films_of(store, config, contents)
        shown = replace(contents, films=films, missing=(*contents.missing, *why_not))
        written = write_report(folder, config, shown)
    except OSError as error:
        raise StudyError(
            f"The report can't be written: {error}. Mend that, or have it elsewhere: "
            f"rlottery report {store.root} --to FOLDER"
        ) from None
    say(f"Figures and tables: {folder}")
    for path in written:
        say(f"  {path}")


def compare_studies(configs: Sequence[Config], to: Path, console: Console) -> None:
    """Write a page about several studies, and show its table.

    Raises:
        StudyError: fewer than two studies, the same one twice, nothing that they share, or a page that can't be
            written.
    """
    from rlottery.report.beside import beside, render_beside, write_beside

    folders = [config.data.resolve() for config in configs]
    if len(configs) < 2:
        raise StudyError("To compare takes two studies or more: rlottery compare STUDY_A STUDY_B")
    if len(set(folders)) < len(folders):
        raise StudyError(f"{configs[0].data} is given twice; a study is no comparison of itself.")
    check_can_be_written(to)
    studies = []
    for config in configs:
        _tell_of_reading(config)
        studies.append(gather(Store(config.data), config))
    together = beside(studies)
    console.print(render_beside(together))
    for path in write_beside(together, to):
        _sayer(console)(f"  {path}")


def _tell_of_reading(config: Config) -> None:
    """Reading many runs takes a while."""
    store = Store(config.data)
    runs = sum(
        store.run(task.name, seed, arm).manifest.exists()
        for task in config.tasks
        for seed in config.seeds
        for arm in store.arms(task.name, seed)
    )
    typer.echo(f"Reading {count(runs, 'run')} of {config.data} ...", err=True)


def _sayer(console: Console) -> Callable[[str], None]:
    """Paths and messages as they are: not wrapped, nothing in brackets taken for a style."""
    return partial(console.print, markup=False, highlight=False, soft_wrap=True)
