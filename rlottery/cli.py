"""The command line: run, status, report, compare, play, verify, check, export, import, push, pull, track and others.

Each command imports what it needs, so that ``--help`` answers at once.
"""

import json
import os
import re
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlottery.errors import ConfigError, StudyError, unknown_choice
from rlottery.export.formats import DATASET, format_help, int8_names
from rlottery.pipeline import (
    EXIT_CODES,
    METHOD_HELP,
    SOME_FAILED,
    end_with,
    fail,
    finish,
    plain_errors,
    run_and_conclude,
)
from rlottery.processes.standard_streams import work_is_in_files
from rlottery.processes.stopping import own_process
from rlottery.safety.printable import on_one_line, printable
from rlottery.safety.search_path import SCRIPT
from rlottery.version import __version__

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rlottery.config import Config

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find lottery tickets in reinforcement-learning agents: sparse subnetworks that match the dense agent when "
    "rewound to their initial weights and trained alone.",
    epilog="To start, run [bold]rlottery init[/], then [bold]rlottery run[/].",
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY.PATH=VALUE", help="Config keys to override for this command: sac.batch_size=128 seeds='[0, 1]'"
    ),
]
_MOST_DIGITS = 18
"""The digits that a whole number has at most."""
ConfigFile = Annotated[str, typer.Argument(metavar="CONFIG", help="The study's YAML file.")]


def _whole(value: str | int, least: int = 0) -> int:
    """The value of an option that is a whole number; also its default."""
    text = str(value).strip()
    shown = repr(on_one_line(text)[:50])
    if re.fullmatch(rf"\+?[0-9]{{{_MOST_DIGITS + 1},}}", text):
        raise typer.BadParameter(f"must be a whole number of at most {_MOST_DIGITS} digits, not {shown}.")
    if not re.fullmatch(rf"[-+]?[0-9]{{1,{_MOST_DIGITS}}}", text) or int(text) < least:
        raise typer.BadParameter(f"must be a whole number of at least {least}, not {shown}.")
    return int(text)


Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run code that a study of somebody else names: its tasks and criteria. Your own need no flag."
    ),
]
StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="The study's config file, its data folder, or the folder with both.")
]


@app.command(epilog=EXIT_CODES)
def run(
    config: ConfigFile = "config.yaml",
    overrides: Overrides = None,
    pruning_method: Annotated[str | None, typer.Option(metavar="METHOD", help=METHOD_HELP)] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Run only these arms of the config, and the arms they need. Comma-separated."
        ),
    ] = None,
    stages: Annotated[
        str,
        typer.Option(
            metavar="STAGES",
            help="What to do, comma-separated: dense trains dense agents, mask creates masks, ticket trains tickets.",
        ),
    ] = "dense,mask,ticket",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs with estimated time and disk space, and start nothing.")
    ] = False,
    on: Annotated[
        str | None, typer.Option("--on", metavar="ENGINE", help="Run on a cluster: slurm or dask (docs/clusters.md).")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What jobs ask the cluster for. `rlottery init --cluster slurm` writes it."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The scheduler of Dask, tcp://HOST:8786. For --on dask.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Let a job submit the others, and return at once. For --on slurm.")
    ] = False,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="TRACKERS",
            help="Send metrics also to wandb, trackio or mlflow, comma-separated. Settings: `tracking` in the config.",
        ),
    ] = None,
) -> None:
    """Train dense agents, create masks, train tickets, compare. Finished work is skipped.

    Changing the sparsity or the pruning method adds tickets to the study; dense agents are not trained again.
    """
    path, extra = _config_and_overrides(config, overrides)
    chosen = [stage.strip() for stage in stages.split(",") if stage.strip()]
    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    from rlottery.config import check_method
    from rlottery.storage.open_study import config_to_run
    from rlottery.study.planning.jobs import check_stages

    with plain_errors():  # what is misspelt on the command line comes before what is wrong in files
        check_method(pruning_method)
        check_stages(chosen)
    asked = None
    if on is not None or profile is not None or scheduler is not None or detach:
        from rlottery.study.clusters import asked_for

        with plain_errors():
            asked = asked_for(on, profile, scheduler, detach=detach)
    if not dry_run:
        finish(
            lambda: run_and_conclude(
                _tracked_by(config_to_run(path, extra), track), pruning_method, chosen, names, asked
            )
        )
        return
    from rlottery.report.terminal import terminal
    from rlottery.study.planning.plan import left_to_other_method, plan_study
    from rlottery.study.reporting import plain_printer
    from rlottery.study.resources.estimate import estimate_table

    with plain_errors():
        loaded = _tracked_by(config_to_run(path, extra), track)
        tracked = plan_study(loaded, pruning_method, chosen, names, plain_printer(terminal()))
        other = None if names is not None else left_to_other_method(loaded, pruning_method, chosen, tracked)
        _print(estimate_table(loaded, tracked, None if asked is None else asked.size(), other))


@app.command()
def status(study: StudyArgument = "config.yaml", overrides: Overrides = None) -> None:
    """Show which runs of a study are done, running, failed or still to do. Changes no files."""
    from rlottery.storage.open_study import config_from_study
    from rlottery.study.status import status_table

    path, extra = _config_and_overrides(study, overrides)
    with plain_errors():
        _print(status_table(config_from_study(path, extra)))


@app.command(epilog="Exit codes: 0 cancelled, or nothing was to cancel; 2 bad input, or an engine can't be asked.")
def cancel(
    study: StudyArgument = "config.yaml",
    overrides: Overrides = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="The scheduler of Dask, if it has another address from here than from the command."
        ),
    ] = None,
) -> None:
    """Cancel all jobs that a study has on a cluster, and end the commands that submit or follow them.

    Runs that are under way save checkpoints first. To continue them, run the study again.
    """
    from rlottery.storage.open_study import check_data_folder, check_may_write, config_from_study
    from rlottery.storage.paths import Store
    from rlottery.study.cancelling import cancel_study

    path, extra = _config_and_overrides(study, overrides)
    with plain_errors():
        loaded = config_from_study(path, extra)
        if not path.is_dir():
            check_may_write(loaded, path, extra)
        check_data_folder(loaded.data)
        cancel_study(Store(loaded.data), scheduler, lambda line: typer.echo(on_one_line(line)))


@app.command(epilog="Exit codes: 0 report written, 2 bad input.")
def report(
    study: StudyArgument = "config.yaml",
    overrides: Overrides = None,
    stability: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            parser=partial(_whole, least=1),
            help="First create K more masks for each gradient mask, from other random batches, and record their "
            "overlap. Takes K times as long as creating the masks.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write the page, its figures and tables. Default: DATA/report."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Analyse the finished runs of a study and write the report: a page, figures, tables. Works on unfinished studies.

    To try other verdict settings on the same runs: rlottery report config.yaml verdict.margin=0.05 --to trial
    """
    from rlottery.report.terminal import terminal
    from rlottery.storage.open_study import config_from_started_study
    from rlottery.storage.trust import allow_code_of_study
    from rlottery.study.reporting import report_folder, report_study

    path, extra = _config_and_overrides(study, overrides)
    work_is_in_files()
    with plain_errors():
        loaded = config_from_started_study(path, extra, writes=True)
        if stability is not None:
            report_folder(loaded, to)  # fails before the long work does
            allow_code_of_study(loaded, trust=trust, what="--stability")
            from rlottery.study.stages.resampling import measure_stability  # imports JAX

            measure_stability(loaded, stability, lambda line: typer.echo(printable(line)))
        report_study(loaded, terminal(), to, trust=trust)


@app.command(epilog="Exit codes: 0 page written, 2 bad input.")
def compare(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY_A STUDY_B ...",
            help="Two or more config files or data folders. With --csv: more files, and settings such as "
            "verdict.margin=0.05",
        ),
    ] = None,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the page and its tables.")] = Path(
        "comparison"
    ),
    csv: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Judge runs that were made elsewhere: a CSV with the columns task, arm, seed, step and score, a CSV "
            "of Weights & Biases, monitor.csv or evaluations.npz of Stable-Baselines3, or a folder of them. A path may "
            "have {task}, {arm}, {seed} and * (docs/made-elsewhere.md).",
        ),
    ] = None,
    dense: Annotated[str | None, typer.Option(metavar="ARM", help="--csv: the arm of dense agents.")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM=TICKET", help="--csv: an arm of random masks with TICKET's layer counts. May be given again."
        ),
    ] = None,
    untrained: Annotated[
        str | None, typer.Option(metavar="ARM", help="--csv: the arm whose scores are those of untrained agents.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAMES", help="--csv: names of columns: arm=algo,score=eval/mean_reward")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", help="--csv: what names of runs mean: '{arm}-seed{seed}', with * for the rest."
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="METRIC", help="--csv: what scores are: return or success.")
    ] = "return",
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="--csv: the title of the page.")] = None,
) -> None:
    """Compare studies: their verdicts, and each arm that they share on each task that they share.

    With --csv: judge runs that any other tool has trained, with the same statistics and page.
    """
    from rlottery.interop.results import are_results
    from rlottery.report.terminal import terminal
    from rlottery.storage.open_study import config_from_started_study
    from rlottery.study.reporting import ResultsAsked, compare_results, compare_studies

    work_is_in_files()
    with plain_errors():
        only_with_csv = {"--dense": dense, "--control": control, "--untrained": untrained, "--columns": columns}
        settings = [each for each in studies or [] if "=" in each and not Path(each).exists()]
        named = [each for each in studies or [] if each not in settings]
        given = [flag for flag, value in (only_with_csv | {"--names": names, "--title": title}).items() if value]
        results = [each for each in named if are_results(each)] if csv is None else []
        judged = f"rlottery compare --csv {shlex.join([*(results or ['FILE']), *settings])}"
        if csv is None and given:
            raise StudyError(f"{given[0]} is for runs that were made elsewhere: {judged} {given[0]} ...")
        if csv is not None:
            if metric not in ("return", "success"):
                raise StudyError(unknown_choice("--metric", metric, ("return", "success")))
            asked = ResultsAsked(
                sources=[*csv, *named],
                settings=settings,
                columns=dict(_pairs(columns.split(",") if columns else [], "--columns arm=NAME,score=NAME")),
                names=names,
                dense=dense,
                controls=_by_first(_pairs(control or [], "--control ARM=TICKET")),
                untrained=untrained,
                metric="success" if metric == "success" else "return",
                title=title,
            )
            compare_results(asked, to, terminal())
            return
        if not studies:
            raise StudyError(
                "Name two studies: rlottery compare STUDY_A STUDY_B. Or files: rlottery compare --csv FILE"
            )
        if results:
            mixed = " Studies and files of scores can't be compared with each other." if named != results else ""
            raise StudyError(
                f"{results[0]}: this isn't a study.{mixed} To judge scores of runs that were made elsewhere: {judged}"
            )
        compare_studies([config_from_started_study(Path(study)) for study in studies], to, terminal())


@app.command(epilog="Exit codes: 0 video written, 2 bad input.")
def play(
    run_folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_FOLDER ...", help="Finished runs of one task: data/runs/TASK/seed_N/ARM."),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An .mp4 or .gif file. Default: an .mp4 in the current folder.")
    ] = None,
    episode: Annotated[
        int, typer.Option(metavar="N", parser=_whole, help="Which evaluation episode to play, from 0.")
    ] = 0,
    trust: Trust = False,
) -> None:
    """Make a video of runs side by side, with the same start and goal. Existing files are not overwritten."""
    from rlottery.export.play import play as film

    work_is_in_files()
    with plain_errors():
        typer.echo(printable(str(film(run_folders, to, episode, trust=trust))))


@app.command(epilog="Exit codes: 0 done, 2 bad input, or the Hub can't be reached.")
def push(
    path: Annotated[
        Path,
        typer.Argument(metavar="RUN_FOLDER|DATA", help="A finished run, data/runs/TASK/seed_N/ARM, or a data folder."),
    ],
    repo: Annotated[str, typer.Option(metavar="NAME", help="The repository: NAME, or OWNER/NAME.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Upload. Without it, only list the files and write the card.")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public. Default: private.")] = False,
    license: Annotated[
        str, typer.Option(metavar="ID", help="Its license, such as apache-2.0, mit or cc-by-4.0.")
    ] = "unknown",
    trust: Trust = False,
) -> None:
    """Upload a run or a study to the Hub of Hugging Face, with a model card. Shows first what would be uploaded.

    Replay buffers stay here. The token is that of huggingface_hub: hf auth login, or HF_TOKEN.
    """
    from rlottery.hub.push import push as push_to_hub

    with plain_errors():
        push_to_hub(
            path,
            repo,
            lambda line: typer.echo(printable(line)),
            send=yes,
            public=public,
            license=license,
            trust=trust,
        )


@app.command(epilog="Exit codes: 0 done, 2 bad input, or the Hub can't be reached.")
def pull(
    repo: Annotated[str, typer.Argument(metavar="NAME", help="The repository, OWNER/NAME.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder. Default: NAME in the current folder.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="A commit, a tag or a branch. Default: the newest commit.")
    ] = None,
) -> None:
    """Fetch what `rlottery push` has uploaded, and verify its checksums. Executes nothing of it."""
    from rlottery.hub.pull import pull as pull_from_hub

    work_is_in_files()
    with plain_errors():
        pull_from_hub(repo, to, revision, lambda line: typer.echo(printable(line)))


@app.command(epilog="Exit codes: 0 everything is sent, 2 bad input, or something can't be sent.")
def track(
    study: StudyArgument = "config.yaml",
    overrides: Overrides = None,
    to: Annotated[
        str | None, typer.Option(metavar="TRACKERS", help="wandb, trackio or mlflow, comma-separated.")
    ] = None,
) -> None:
    """Send the metrics of a study's runs to trackers, as far as they were not sent yet, also long after the runs.

    Settings of the trackers are under `tracking` in the config (docs/tracking.md). With a data folder, give them here:
    tracking.wandb.project=NAME
    """
    from rlottery.config import load_tracking
    from rlottery.storage.open_study import config_from_started_study
    from rlottery.study.track import send_study

    path, extra = _config_and_overrides(study, overrides)
    work_is_in_files()
    with plain_errors():
        if path.is_dir():
            loaded = config_from_started_study(path).model_copy(update={"tracking": load_tracking(extra)})
        else:
            loaded = config_from_started_study(path, extra, writes=True)
        send_study(_tracked_by(loaded, to), lambda line: typer.echo(printable(line)))


@app.command()
def arms() -> None:
    """List what `arms:` in a config accepts: criteria, allocations, schedules, rewinding, controls."""
    from rlottery.study.catalogue import catalogue_table

    _print(catalogue_table())


@app.command(epilog="Exit codes: 0 studies can run here, 1 something they need is missing, 2 bad input.")
def doctor(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Check this data folder instead: its file system, locks, renames, free space."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="As JSON to report an error with: names of users, machines and folders are left out."
        ),
    ] = False,
) -> None:
    """Check this machine: kernels, cores, devices, versions, rendering. Says what is missing and how to install it."""
    from rlottery.study.doctor import diagnose, doctor_page, doctor_record, what_is_missing
    from rlottery.study.shared_folder import check_shared_folder

    with plain_errors():
        found = diagnose() if data is None else {f"Data folder {data}": check_shared_folder(data)}
    if as_json:
        typer.echo(json.dumps(doctor_record(found), indent=2))
    else:
        _print(doctor_page(found))
    if what_is_missing(found):
        raise typer.Exit(SOME_FAILED)


@app.command(epilog="Exit codes: 0 all files are intact, 1 some are damaged, 2 bad input.")
def verify(study: StudyArgument = "config.yaml", overrides: Overrides = None) -> None:
    """Check every file of a study against its checksum. Lists damaged files and how to repair them; changes none."""
    from rlottery.storage.open_study import config_from_study
    from rlottery.study.verify import examine

    path, extra = _config_and_overrides(study, overrides)
    with plain_errors():
        loaded = config_from_study(path, extra)
        health = examine(loaded)
    if not health.files and not health.in_use:
        fail(StudyError(f"{loaded.data} has no files of this study. Is this the right folder?"))
    for folder in health.in_use:
        typer.echo(on_one_line(f"{folder}: skipped, in use by another process."))
    for problem in health.problems:
        typer.echo(on_one_line(f"{problem.file}: {problem.why}. {problem.fix}"))
    if health.problems:
        are = "is" if len(health.problems) == 1 else "are"
        typer.echo(f"{len(health.problems)} of {health.files:,} checked files {are} damaged.")
        raise typer.Exit(SOME_FAILED)
    typer.echo(on_one_line(f"All {health.files:,} files in {loaded.data} are intact."))


@app.command(epilog="Exit codes: 0 nothing is wrong, 2 something is.")
def check(
    things: Annotated[list[str], typer.Argument(metavar="TASK|MASK ...", help="Task ids, or mask files.")],
    study: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="Try tasks with the arguments that this study gives them; check masks against its networks.",
        ),
    ] = None,
    trust: Trust = False,
) -> None:
    """Check tasks and mask files before a study uses them: what they are, and what is wrong. Changes no files.

    A task is tried for a few episodes, and rendered (docs/tasks.md).
    """
    from rlottery.storage.local_modules import allow_local_modules
    from rlottery.storage.open_study import config_from_study
    from rlottery.storage.trust import allow_code
    from rlottery.study.check import check_mask, check_task, is_mask

    with plain_errors():
        config = None
        if study is not None:
            config = config_from_study(Path(study))
            if Path(study).is_dir():
                tried = [task for task in config.tasks if task.id in things or any(map(is_mask, things))]
                allow_code(config.data, tried, trust=trust, what="This check")
            else:
                allow_local_modules([Path(study).parent, Path.cwd()])
        if not all(map(is_mask, things)):
            allow_local_modules([Path.cwd()])
        problems = []
        for thing in things:
            found = (
                check_mask(Path(thing), config)
                if is_mask(thing)
                else check_task(thing, config, lambda line: typer.echo(printable(line), err=True))
            )
            _print(found.page)
            problems += found.problems
        if problems:
            fail(StudyError("\n".join(problems)))


@app.command(epilog="Exit codes: 0 file written, 2 bad input.")
def export(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN_FOLDER", help="A finished run: data/runs/TASK/seed_N/ARM.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write the file. Its ending says in which format. Default: TASK_seed_N_ARM.npz here.",
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"The format, if not by --to: {format_help()}. Or {DATASET}: the replay buffer of a dense run as a "
            "Minari dataset, whose id is --to.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help=f"Weights as 8-bit integers, for {int8_names()}. Evaluates the policy in its task, with and without, "
            "and records both returns.",
        ),
    ] = False,
    trust: Trust = False,
) -> None:
    """Export a run's policy to a small file for other programs (docs/export.md). Units that do nothing are removed.

    Existing files are not overwritten.
    """
    work_is_in_files()
    if format_name == DATASET:
        from rlottery.interop.minari import write_dataset

        with plain_errors():
            if int8:
                raise StudyError(f"--int8 is not for the format {DATASET}, which has no weights.")
            if to is None:
                raise StudyError("Give the dataset an id: --to rlottery/pendulum/sac-v0")
            typer.echo(printable(str(write_dataset(run_folder, str(to), trust=trust))))
        return
    from rlottery.export.export import export_policy

    with plain_errors():
        typer.echo(printable(str(export_policy(run_folder, to, format_name, int8=int8, trust=trust))))


@app.command("import", epilog="Exit codes: 0 agent imported, 2 bad input.")
def import_(
    agent: Annotated[Path, typer.Argument(metavar="AGENT", help="Its file: .zip, .cleanrl_model, .pth, .safetensors.")],
    overrides: Overrides = None,
    task: Annotated[
        str | None, typer.Option(metavar="ID", help="The task that it was trained on, such as Pendulum-v1.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its replay buffer, of save_replay_buffer, or minari:ID.")
    ] = None,
    initial: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The agent as it was before training, saved in the same way.")
    ] = None,
    initial_from_seed: Annotated[
        bool,
        typer.Option(
            "--initial-from-seed",
            help="Let Stable-Baselines3 make its initial weights again, from the seed in its file. Needs "
            "--library-python.",
        ),
    ] = False,
    collect: Annotated[
        int,
        typer.Option(
            metavar="STEPS",
            parser=_whole,
            help="Take so many steps with the agent in the task, in place of a replay buffer.",
        ),
    ] = 0,
    normalisation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For PPO: the statistics of observations and rewards, of VecNormalize.save."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For files of weights: which tensors are which layers (docs/import-libraries.md)."
        ),
    ] = None,
    algorithm: Annotated[str | None, typer.Option(metavar="NAME", help="sac, td3, dqn or ppo.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", parser=_whole, help="The run's seed. Default: the agent's own, or 0.")
    ] = None,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The study's folder, with its config.yaml and data.")
    ] = Path(),
    study: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="The config file of a study that gets the run, instead.")
    ] = None,
    library_python: Annotated[
        str | None,  # a Path would turn ./python into python, which is looked up in PATH
        typer.Option(
            metavar="PYTHON",
            help="A Python that has the agent's library, such as venv/bin/python. Allows it to execute what is pickled "
            "in the files, in a process of its own, where they can't be read otherwise.",
        ),
    ] = None,
) -> None:
    """Make a dense run from an agent that another library trained, to prune it and to train tickets.

    If the folder has no study yet, its config.yaml gets the agent's settings. Then: rlottery run (docs/import.md)
    """
    from rlottery.study.importing import import_agent

    work_is_in_files()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    with plain_errors():
        made = import_agent(
            agent,
            overrides or (),
            task=task,
            initial=initial,
            initial_from_seed=initial_from_seed,
            replay=replay,
            collect=collect,
            normalisation=normalisation,
            mapping=mapping,
            algorithm=algorithm,
            seed=seed,
            to=to,
            study=study,
            library_python=library_python,
            say=lambda line: typer.echo(printable(line), err=True),
        )
        typer.echo(printable(str(made)))


@app.command()
def init(
    path: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Where to start the study. With FILE.yaml, only that config is written."),
    ] = Path(),
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ENGINE", help="Write cluster.yaml instead, the profile of a cluster: slurm."),
    ] = None,
) -> None:
    """Start a study: write config.yaml, with every key explained, and run_pipeline.py. Existing files are kept."""
    from importlib.resources import files

    from rlottery.config import default_config_text
    from rlottery.storage.disk import write_bytes

    is_folder = path.is_dir() or not path.suffix
    texts = {path / "config.yaml" if is_folder else path: default_config_text()}
    if cluster is not None:
        from rlottery.config.cluster_profile import default_profile_text

        texts = {path / "cluster.yaml" if is_folder else path: default_profile_text()}
    elif is_folder:
        texts[path / SCRIPT] = (files("rlottery.config") / "default_script.txt").read_text(encoding="utf-8")
    work_is_in_files()
    with plain_errors():
        if cluster not in (None, "slurm"):
            raise ConfigError(unknown_choice("--cluster", cluster, ("slurm",)))
        for file in texts:
            if file.exists():
                flag = "" if cluster is None else f" --cluster {cluster}"
                raise ConfigError(
                    f"{file} already exists, and was not changed. Choose another name: rlottery init{flag} FOLDER, or "
                    f"rlottery init{flag} FILE.yaml"
                )
        try:
            for file, text in texts.items():
                write_bytes(file, text.encode())
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}") from None
    if cluster is not None:
        (file,) = texts
        typer.echo(printable(f"Wrote {file}. Fill it in, then:\n\n  rlottery run --on slurm --profile {file}"))
        return
    typer.echo(printable(f"Wrote {' and '.join(map(str, texts))}. Next:\n"))
    if is_folder and path.resolve() != Path.cwd():
        typer.echo(printable(f"  cd {path}"))
    run = "rlottery run" if is_folder else f"rlottery run {path}"
    typer.echo(printable(f"  {run} --dry-run   # list the runs, with estimated time and disk space"))
    typer.echo(printable(f"  {run}             # run the study: 4 to 10 minutes on two cores"))


def main() -> None:
    """The command `rlottery`. It ends with an exit code."""
    own_process()
    if os.environ.get("COLUMNS") == "0":  # unknown, but Typer's help would be empty
        del os.environ["COLUMNS"]
    end_with(partial(app, prog_name="rlottery"))


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit()


def _print(page: "RenderableType") -> None:
    from rlottery.report.terminal import LIVE_WIDTH, terminal

    terminal(LIVE_WIDTH).print(page, crop=False)  # a name that is longer than a line is wrapped


def _tracked_by(config: "Config", trackers: str | None) -> "Config":
    """The config with trackers of the command line. Raises ConfigError if one has an unknown name."""
    from rlottery.config import with_trackers

    names = [name.strip() for name in (trackers or "").split(",") if name.strip()]
    return with_trackers(config, names)


def _pairs(texts: list[str], usage: str) -> list[tuple[str, str]]:
    """``["a=b"]`` as ``[("a", "b")]``."""
    found = []
    for text in texts:
        name, equals, value = map(str.strip, text.partition("="))
        if not equals or not name or not value:
            raise StudyError(f"{text!r} should be as in {usage}.")
        found.append((name, value))
    return found


def _by_first(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    return {first: tuple(value for name, value in pairs if name == first) for first, _ in pairs}


def _config_and_overrides(first: str, rest: list[str] | None) -> tuple[Path, list[str]]:
    """``rlottery run sac.batch_size=128`` means the default config with that key set."""
    if "=" in first and not Path(first).exists():
        return Path("config.yaml"), [first, *(rest or [])]
    return Path(first), rest or []
