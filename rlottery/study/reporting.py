"""The report on a study, written at the end of every run and on request; and the comparison of several studies."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from rlottery.analysis.runs import Metric, other_settings_lines
from rlottery.config import Config
from rlottery.config.judging import judging_from
from rlottery.errors import StudyError
from rlottery.interop.results import read_results
from rlottery.interop.run_names import Pattern
from rlottery.interop.score_csv import Naming
from rlottery.report.closing import Closing
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.elsewhere import collect_elsewhere, evaluations_per_score, roles_of
from rlottery.report.films import films_of
from rlottery.report.folders import check_is_own, comparison_files, report_files
from rlottery.report.summary import summarise
from rlottery.report.wording import plural
from rlottery.safety.printable import on_one_line
from rlottery.storage.paths import DENSE, Store
from rlottery.storage.study_record import note_command
from rlottery.study.execution.cores import usable_cores


@dataclass(frozen=True)
class ResultsAsked:
    """What `rlottery compare --csv` was asked to read, and what the user says of it.

    Attributes:
        sources: files, folders or patterns; settings: `key.path=value`.
        columns: what a column means -> its name. names: pattern of the names of runs.
        controls: arm of random masks -> its tickets.
    """

    sources: Sequence[str]
    settings: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    names: str | None = None
    dense: str | None = None
    controls: Mapping[str, tuple[str, ...]] | None = None
    untrained: str | None = None
    metric: Metric = "return"
    title: str | None = None


def report_folder(config: Config, to: Path | None) -> Path:
    """The folder for a study's report: `to`, or one in its data folder. Checked before any long work.

    Raises StudyError if it can't be written to, or files of the user's are in the places of its own.
    """
    folder = Store(config.data).report if to is None else to
    check_can_be_written(folder)
    check_is_own(report_files(folder), "--to FOLDER")
    return folder


def check_can_be_written(folder: Path) -> None:
    """Raise a StudyError unless files can be created in a folder, which need not exist yet."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        if nearest.is_dir():
            with tempfile.TemporaryFile(dir=nearest):
                return
        why = f"{nearest} is a file"
    except OSError as error:
        why = str(error.strerror)
    raise StudyError(f"The report can't be written to {folder}: {why}. Choose another folder: --to FOLDER")


def report_study(config: Config, console: Console, to: Path | None = None, *, trust: bool = False) -> None:
    """Show the summary of a study and write its report (`report_folder`); and write its record if it has none.

    Args:
        trust: as for `films_of`.
    """
    store, folder = Store(config.data), report_folder(config, to)
    store.check_links()
    _announce_reading(config)
    contents = collect(store, config)
    console.print(Closing(summarise(contents)))
    console.print()
    say = plain_printer(console)
    if to is None and not store.record.exists():
        _begin_record(store, config, contents, say)
    publish(store, config, contents, say, folder, trust=trust)


def _begin_record(store: Store, config: Config, contents: Contents, say: Callable[[str], None]) -> None:
    """Write the record of a study that has none, if these settings are those of everything in its data folder."""
    asked = {store.run(task.name, seed, DENSE).folder.parent for task in config.tasks for seed in config.seeds}
    beyond = sorted(set(store.runs.glob("*/seed_*")) - asked)
    if other_settings_lines(config, {task.task: task.every_run for task in contents.scores}):
        say(f"{store.record} does not exist, and is not written: runs have other settings. Set the same keys.")
    elif beyond:
        say(f"{store.record} does not exist, and is not written: these settings do not include {beyond[0]}.")
    else:
        try:
            note_command(config, has_work=False)
        except OSError as error:
            say(f"{store.record} can't be written: {error.strerror}.")


def publish(
    store: Store,
    config: Config,
    contents: Contents,
    say: Callable[[str], None],
    folder: Path | None = None,
    *,
    trust: bool = False,
) -> None:
    """Write the files of a report to `folder` or the store's own, and print their paths. Videos stay in the store."""
    from rlottery.report.files import write_report  # Matplotlib takes a second to import, which --help can do without

    folder = store.report if folder is None else folder
    try:
        films, no_films = films_of(store, config, contents, trust=trust)
        shown = replace(contents, films=films, no_films=no_films)
        written = write_report(folder, shown, say, usable_cores().number)
    except OSError as error:
        raise StudyError(
            f"The report can't be written: {error}. Fix this, then rerun the report; or write it to another folder: "
            f"rlottery report {store.root} --to FOLDER"
        ) from None
    for line in no_films:
        say(line)
    for page in written[:1]:
        say(f"Page:   {page}")


def compare_studies(configs: Sequence[Config], to: Path, console: Console) -> None:
    """Compare two or more studies: show the tables, and write them with a page."""
    from rlottery.report.study_comparison import compare_contents, render_comparison, write_comparison

    folders = [config.data.resolve() for config in configs]
    if len(configs) < 2:
        raise StudyError("A comparison needs two studies or more: rlottery compare STUDY_A STUDY_B")
    if len(set(folders)) < len(folders):
        raise StudyError(
            f"{next(path for path in folders if folders.count(path) > 1)} is given twice. Give different studies."
        )
    check_can_be_written(to)
    check_is_own(comparison_files(to), "--to FOLDER")
    studies = []
    for config in configs:
        _announce_reading(config)
        studies.append(collect(Store(config.data), config))
    compared = compare_contents(studies)
    console.print(render_comparison(compared))
    say = plain_printer(console)
    for path in write_comparison(compared, to, say):
        say(f"  {path}")


def compare_results(asked: ResultsAsked, to: Path, console: Console) -> None:
    """Judge runs that were made elsewhere as those of a study: show the summary, and write the page."""
    from rlottery.report.files import write_report  # as above

    check_can_be_written(to)
    check_is_own(report_files(to), "--to FOLDER")
    judging = judging_from(asked.settings)
    naming = Naming(asked.columns, None if asked.names is None else Pattern(asked.names))
    found = read_results(asked.sources, naming, asked.metric, judging.evaluation.episodes)
    config = judging.config(evaluations_per_score(found))
    roles = roles_of(found, asked.dense, asked.controls, asked.untrained)
    title = asked.title or ", ".join(Path(source).name for source in asked.sources[:3])
    contents = collect_elsewhere(found, roles, config, asked.metric, title)
    console.print(Closing(summarise(contents)))
    console.print()
    say = plain_printer(console)
    try:
        written = write_report(to, contents, say, usable_cores().number)
    except OSError as error:
        raise StudyError(f"The page can't be written: {error}. Choose another folder: --to FOLDER") from None
    for page in written[:1]:
        say(f"Page:   {page}")


def _announce_reading(config: Config) -> None:
    """Print what is read: many runs take a while."""
    store = Store(config.data)
    places = [(task.name, seed) for task in config.tasks for seed in config.seeds]
    runs = sum(store.run(*place, arm).manifest.exists() for place in places for arm in store.arms(*place))
    typer.echo(on_one_line(f"Reading {plural(runs, 'run')} of {config.data} ..."), err=True)


def plain_printer(console: Console) -> Callable[..., None]:
    """A function that prints paths and messages as they are: not wrapped, and brackets are not styles."""
    return partial(console.print, markup=False, highlight=False, soft_wrap=True)
