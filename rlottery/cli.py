"""The command line: run, status, report, compare, play, verify, export, arms, doctor, init."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rlottery.config import default_config_text
from rlottery.errors import ConfigError, RlotteryError, StudyError
from rlottery.export.npz import export_policy
from rlottery.pipeline import (
    EXIT_CODES,
    METHOD_HELP,
    SOME_FAILED,
    fail,
    finish,
    run_and_conclude,
)
from rlottery.storage.disk import write_bytes
from rlottery.storage.open_study import (
    allow_local_tasks,
    config_from_file,
    config_from_started_study,
    config_from_study,
)
from rlottery.study.catalogue import catalogue_table
from rlottery.study.doctor import diagnose, doctor_page, is_ready
from rlottery.study.health import examine
from rlottery.study.planning.jobs import STAGES
from rlottery.study.reporting import compare_studies, report_folder, report_study
from rlottery.study.resources.estimate import estimate_table
from rlottery.study.run import plan_study
from rlottery.study.status import status_table
from rlottery.version import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find lottery tickets in reinforcement-learning agents: sparse subnetworks which, rewound to their initial "
    "weights and trained alone, match the dense agent.",
    epilog="Start with [bold]rlottery init[/] and [bold]rlottery run[/].",
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY.PATH=VALUE", help="Config keys to set for this command: sac.batch_size=128 seeds='[0, 1]'"
    ),
]
ConfigFile = Annotated[str, typer.Argument(metavar="CONFIG", help="The study's YAML file.")]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="Its config file, or its data folder.")]


@app.command(epilog=EXIT_CODES)
def run(
    config: ConfigFile = "config.yaml",
    overrides: Overrides = None,
    pruning_method: Annotated[str | None, typer.Option(metavar="METHOD", help=METHOD_HELP)] = None,
    arms: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Which arms of the config's list, with commas; what they need comes along."),
    ] = None,
    stages: Annotated[
        str, typer.Option(metavar="STAGES", help="Which to do, with commas: train agents, make masks, train tickets.")
    ] = ",".join(STAGES),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs with estimated time and disk, and do nothing.")
    ] = False,
) -> None:
    """Train dense agents, make masks, train tickets, compare. Done work is skipped.

    Another sparsity or gradient method adds tickets beside those that are there; dense agents are not trained again.
    """
    path, extra = _config_and_overrides(config, overrides)
    chosen = [stage.strip() for stage in stages.split(",") if stage.strip()]
    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    if not dry_run:
        finish(lambda: run_and_conclude(config_from_file(path, extra), pruning_method, chosen, names))
        return
    try:
        loaded = config_from_file(path, extra)
        Console().print(estimate_table(loaded, plan_study(loaded, pruning_method, chosen, names)))
    except RlotteryError as error:
        fail(error)


@app.command()
def status(
    study: Study = "config.yaml",
    overrides: Overrides = None,
) -> None:
    """Show what of a study is done, under way, failed or still to do. Reads files only."""
    path, extra = _config_and_overrides(study, overrides)
    try:
        Console().print(status_table(config_from_study(path, extra)))
    except RlotteryError as error:
        fail(error)


@app.command(epilog="Exit codes: 0 the report is written, 2 bad input.")
def report(
    study: Study = "config.yaml",
    overrides: Overrides = None,
    stability: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="First make K more masks for each gradient mask, from other draws of its batches, and keep how alike "
            "they are. Takes as long as making the masks K times.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where to write the page, its figures and tables; without this, DATA/report."
        ),
    ] = None,
) -> None:
    """Judge what is there of a study, and write the report: a page, figures, tables. Half a study will do.

    Settings of `verdict` can be tried on runs that are done: rlottery report config.yaml verdict.margin=0.05 --to trial
    """
    path, extra = _config_and_overrides(study, overrides)
    try:
        loaded = config_from_started_study(path, extra)
        if stability is not None:
            report_folder(loaded, to)  # before the long work
            from rlottery.study.stages.resampling import measure_stability  # brings JAX along

            measure_stability(loaded, stability, typer.echo)
        report_study(loaded, Console(), to)
    except RlotteryError as error:
        fail(error)
    except OSError as error:
        fail(StudyError(f"{error}. Mend that, and ask for the report again."))


@app.command(epilog="Exit codes: 0 the page is written, 2 bad input.")
def compare(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY_A STUDY_B ...", help="Config files or data folders, two or more.")
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the page and its table.")] = Path(
        "comparison"
    ),
) -> None:
    """Set studies beside each other: their verdicts, and every arm that they share on every task that they share."""
    with _told("compare again"):
        compare_studies([config_from_started_study(Path(study)) for study in studies], to, Console())


@app.command(epilog="Exit codes: 0 the film is written, 2 bad input.")
def play(
    run_folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_FOLDER ...", help="Finished runs of one task: data/runs/TASK/seed_N/ARM."),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An .mp4 or a .gif; without this, an .mp4 here.")
    ] = None,
    episode: Annotated[int, typer.Option(metavar="N", help="Which of the evaluation's episodes, from 0.")] = 0,
) -> None:
    """Film an episode of runs, side by side, with the same start and the same goal. An existing file is left alone."""
    allow_local_tasks()
    with _told("play again"):
        from rlottery.export.play import play as film  # brings video codecs along

        typer.echo(str(film(run_folders, to, episode)))


@app.command()
def arms() -> None:
    """Show what a config's `arms:` may ask for: criteria, allocations, schedules, rewinding, controls."""
    Console().print(catalogue_table())


@app.command(epilog="Exit codes: 0 studies can run here, 1 something that they need is missing.")
def doctor() -> None:
    """Show what studies have to work with here: kernels, cores, devices, versions, rendering; and what is missing."""
    found = diagnose()
    Console().print(doctor_page(found))
    if not is_ready(found):
        raise typer.Exit(SOME_FAILED)


@app.command(epilog="Exit codes: 0 all is sound, 1 something is damaged, 2 bad input.")
def verify(
    study: Study = "config.yaml",
    overrides: Overrides = None,
) -> None:
    """Compare every file of a study with its checksum, and say what is damaged and what mends it. Reads files only."""
    path, extra = _config_and_overrides(study, overrides)
    with _told("look again"):
        loaded = config_from_study(path, extra)
        health = examine(loaded)
    if not health.files and not health.at_work:
        fail(StudyError(f"{loaded.data} holds nothing of this study. Is it the folder that was meant?"))
    for folder in health.at_work:
        typer.echo(f"{folder}: left out, for a process is at work there.")
    for problem in health.problems:
        typer.echo(f"{problem.file}: {problem.why}. {problem.mend}")
    if health.problems:
        typer.echo(f"{len(health.problems)} of {health.files:,} files looked at are damaged.")
        raise typer.Exit(SOME_FAILED)
    typer.echo(f"All {health.files:,} files in {loaded.data} are as they were written.")


@app.command(epilog="Exit codes: 0 the file is written, 2 bad input.")
def export(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN_FOLDER", help="A finished run's: data/runs/TASK/seed_N/ARM.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it; without this, here, as TASK_seed_N_ARM.npz."),
    ] = None,
) -> None:
    """Write a run's policy for use elsewhere: a small .npz without the units that do nothing.

    NumPy alone reads it. An existing file is left alone.
    """
    allow_local_tasks()
    with _told("export again"):
        exported = export_policy(run_folder, to)
    typer.echo(str(exported))


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("config.yaml"),
) -> None:
    """Write a config with every key explained. An existing file is left alone."""
    try:
        if path.exists():
            raise ConfigError(f"{path} exists already and was left alone. Give another name: rlottery init FILE")
        write_bytes(path, default_config_text().encode())
    except OSError as error:
        fail(ConfigError(f"{path} can't be written: {error.strerror}"))
    except RlotteryError as error:
        fail(error)
    typer.echo(f"Wrote {path}. Start with: rlottery run {path}")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit()


@contextlib.contextmanager
def _told(again: str) -> Iterator[None]:
    """Errors that the user can mend are printed without a traceback, and end the process with the code of bad input."""
    try:
        yield
    except RlotteryError as error:
        fail(error)
    except OSError as error:
        fail(StudyError(f"{error}. Mend that, and {again}."))


def _config_and_overrides(first: str, rest: list[str] | None) -> tuple[Path, list[str]]:
    """``rlottery run sac.batch_size=128`` means the default config with that key set."""
    if "=" in first and not Path(first).exists():
        return Path("config.yaml"), [first, *(rest or [])]
    return Path(first), rest or []
