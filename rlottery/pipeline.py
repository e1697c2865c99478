"""The pipeline as one function, and as the command line of a script such as `run_pipeline.py`.

Heavy modules are imported by the functions that need them, so that ``--help`` and bad flags answer at once.
"""

# ruff: noqa: E402
import sys

from rlottery.processes.stopping import own_process
from rlottery.safety.search_path import SCRIPT

# isort: split


def _is_script() -> bool:
    """Whether this process runs `run_pipeline.py`, and no script of another name, a notebook or a test."""
    file = getattr(sys.modules["__main__"], "__file__", None) or ""
    return file.rpartition("/")[2] == SCRIPT


if _is_script():
    own_process()  # before the imports below, which take a tenth of a second

import argparse
import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from rlottery.errors import RlotteryError, StudyError
from rlottery.processes.standard_streams import lasting_streams, work_is_in_files
from rlottery.processes.stopping import (
    INTERRUPTED,
    OwnedProcess,
    StopSignals,
    end_process,
    exit_code,
    is_owned,
    line_when_stopped,
)
from rlottery.safety.printable import on_one_line

if TYPE_CHECKING:
    from rlottery.config import Config
    from rlottery.study.clusters import Asked
    from rlottery.study.run import Outcome

BAD_INPUT, SOME_FAILED = 2, 1
"""Exit codes of every command, besides those of `processes.stopping`."""
EXIT_CODES = "Exit codes: 0 all done, 1 some runs failed, 2 bad input, 75 stopped by SIGTERM, 130 stopped by Ctrl-C."
METHOD_HELP = (
    "magnitude (scores weights by |w|) or gradient (scores them as pruning.gradient_method says). Not for a config "
    "that lists its arms."
)


def main(
    train_agent: bool = True,
    create_ticket: bool = True,
    run_ticket: bool = True,
    pruning_method: Literal["magnitude", "gradient"] | None = None,
    config: str | Path = "config.yaml",
) -> "Outcome":
    """Train dense agents, create pruning masks, train the tickets, and print how they compare.

    Finished work is skipped, so a second call with the same arguments only prints the result. All training runs in
    worker processes and JAX is imported only there, so notebooks and scripts without a main guard are safe. This is a
    plain function: it does not read the command line (`script_main` does).

    Args:
        train_agent: Train the dense agents and save their replay buffers.
        create_ticket: Create the pruning masks of tickets and controls.
        run_ticket: Train the tickets, the initial weights times the mask, and their controls.
        pruning_method: ``"magnitude"`` scores weights by |w|, ``"gradient"`` as ``pruning.gradient_method`` says. None
            means magnitude, or every arm of a config that lists its arms under ``arms``.
        config: The study's YAML file.

    Returns:
        What became of each job, and the scores of every arm (``outcome.scores``).

    Raises:
        RlotteryError: The input is bad; nothing has been trained or written. The message says how to fix it.
        SystemExit: Ctrl-C (130) or SIGTERM (75) stopped the study early. Its work is saved.

    Example:
        >>> outcome = rlottery.main(pruning_method="gradient", config="config.yaml")  # doctest: +SKIP
        >>> for task in outcome.scores:  # doctest: +SKIP
        ...     print(task.task, {arm.arm: arm.normalised_score for arm in task.arms})
    """
    _refuse_ignored_flags(locals())
    chosen = {"dense": train_agent, "mask": create_ticket, "ticket": run_ticket}
    stages = [stage for stage, wanted in chosen.items() if wanted]
    if not stages:
        raise RlotteryError("Nothing to do: set train_agent, create_ticket or run_ticket to True.")
    from rlottery.config import check_method
    from rlottery.storage.open_study import config_to_run

    check_method(pruning_method)
    with lasting_streams():
        return run_and_conclude(config_to_run(Path(config)), pruning_method, stages)


def run_and_conclude(
    config: "Config",
    method: str | None,
    stages: Sequence[str],
    names: Sequence[str] | None = None,
    asked: "Asked | None" = None,
) -> "Outcome":
    """Run a study and print its results on this process's terminal. Raises as `main`.

    Args:
        asked: the cluster to run on; None: this machine.
    """
    typer.echo(on_one_line(_first_line(config)))  # before the imports below, which take a second
    from rlottery.report.terminal import terminal
    from rlottery.study.run import conclude, run_study

    console = terminal()
    try:
        outcome = run_study(config, method, stages, console, names, asked)
        if outcome.stopped is not None:
            _stop(outcome.stopped)
        try:
            with StopSignals() as signals, signals.at_once():
                conclude(outcome, config, console)
        except StudyError as error:
            if not outcome.failed:
                raise
            typer.echo(f"error: {error}", err=True)
    except KeyboardInterrupt as interrupt:
        if not interrupt.args:  # Ctrl-C was pressed twice
            raise
        _stop(interrupt.args[0])
    return outcome


def _first_line(config: "Config") -> str:
    """``Study 'study' in data: Pendulum-v1, 5 seeds. Planning ...``"""
    tasks = config.tasks[0].id if len(config.tasks) == 1 else f"{len(config.tasks)} tasks"
    seeds = "1 seed" if len(config.seeds) == 1 else f"{len(config.seeds)} seeds"
    return f"Study {config.name!r} in {config.data}: {tasks}, {seeds}. Planning ..."


def _stop(number: int) -> NoReturn:
    """End at once, because of a signal. The script that has called `main` doesn't continue with its next call."""
    if is_owned():
        end_process(number)
    typer.echo(line_when_stopped(), err=True)
    raise SystemExit(exit_code(number)) from None


def with_command_line(pipeline: Callable[..., "Outcome"]) -> Callable[..., "Outcome"]:
    """`pipeline` for a script: flags on the script's command line override the arguments of each call.

    Errors end the process as in `finish`. Otherwise the call returns and the script continues.
    """

    @functools.wraps(pipeline)
    def call(*args: Any, **kwargs: Any) -> "Outcome":
        _search_script_folder_last()
        given = inspect.signature(pipeline).bind(*args, **kwargs)
        given.apply_defaults()
        values, outcomes = given.arguments, []

        def command(
            context: typer.Context,
            train_agent: Annotated[
                bool, typer.Option(help="Train the dense agents and save their replay buffers.")
            ] = values["train_agent"],
            create_ticket: Annotated[bool, typer.Option(help="Create the pruning masks.")] = values["create_ticket"],
            run_ticket: Annotated[
                bool, typer.Option(help="Train the tickets: the initial weights times the mask.")
            ] = values["run_ticket"],
            pruning_method: Annotated[str | None, typer.Option(metavar="METHOD", help=METHOD_HELP)] = values[
                "pruning_method"
            ],
            config: Annotated[str, typer.Option(metavar="FILE", help="The study's YAML file.")] = str(values["config"]),
        ) -> None:
            """Train dense agents, create pruning masks, train lottery tickets, compare. Finished work is skipped."""
            method = pruning_method
            source = context.get_parameter_source("pruning_method")
            if source is not None and source.name == "DEFAULT" and _lists_arms(config):
                method = None  # the script's value, not a choice of the person who typed the command
            outcomes.append(finish(lambda: pipeline(train_agent, create_ticket, run_ticket, method, config)))

        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(epilog=EXIT_CODES)(command)
        try:
            with OwnedProcess():
                end_with(app)
        except SystemExit:
            if not outcomes:  # an error, or --help
                raise
        return outcomes[0]

    return call


script_main = with_command_line(main)
"""`main` for a script of its own: flags such as ``--pruning-method gradient`` override the arguments of the call."""


def _search_script_folder_last() -> None:
    """Python searches a script's folder first, so that a `queue.py` there would hide Python's own module."""
    folder = str(Path(getattr(sys.modules["__main__"], "__file__", None) or "").parent.absolute())
    if sys.path and str(Path(sys.path[0]).absolute()) == folder:
        sys.path.append(sys.path.pop(0))


def _refuse_ignored_flags(values: dict[str, Any]) -> None:
    """End `run_pipeline.py` if it calls `main` with other values than its command line asks for, or in place of --help.

    Flags are for `script_main`. A `run_pipeline.py` that imports `main` would ignore them without a word. A script of
    any other name may have flags of its own, and so may one that passes on what its flags say.
    """
    if not _is_script():
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name, value in values.items():
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if isinstance(value, bool) else {"nargs": "?"}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    # Misspelt with underscores, as the arguments are written.
    given = [re.sub("^--[^=]*", lambda name: name[0].replace("_", "-"), word) for word in sys.argv[1:]]
    flags = vars(parser.parse_known_args(given)[0])
    if "--help" in given or any(flag is not None and str(flag) != str(values[name]) for name, flag in flags.items()):
        typer.echo(
            f"error: {SCRIPT} calls a `main` that does not read the command line, so it would ignore "
            f"{on_one_line(' '.join(sys.argv[1:]))}. Change its import to: from rlottery.pipeline import script_main "
            "as main",
            err=True,
        )
        raise SystemExit(BAD_INPUT)


def _lists_arms(config: str) -> bool:
    """Whether a config lists its arms, so that there is no pruning method to choose."""
    from rlottery.config import load_config

    try:
        return bool(load_config(Path(config)).arms)
    except RlotteryError:
        return False  # the pipeline reads it again, and reports what is wrong


def end_with(command: Callable[[], object]) -> None:
    """End the process with the exit code of `command`.

    That of bad input, if the command only prints and its output could not be written: whoever reads it must know. A
    command that writes files has done its work then (`work_is_in_files`).
    """
    try:
        with lasting_streams() as streams:
            command()
    except SystemExit as end:
        if streams.fault is not None and streams.is_all and not end.code:
            raise SystemExit(BAD_INPUT) from None
        raise


def finish(work: Callable[[], "Outcome"]) -> "Outcome":
    """Do `work` for a command, which ends with the exit code for bad input, for failed runs or for an interruption."""
    work_is_in_files()
    with plain_errors("Finished work is intact: fix this, then run the same command again."):
        try:
            outcome = work()
        except KeyboardInterrupt:
            typer.echo("Stopped at once. Run the same command again to continue from the last checkpoints.", err=True)
            raise typer.Exit(INTERRUPTED) from None
    if outcome.failed:
        raise typer.Exit(SOME_FAILED)
    return outcome


@contextlib.contextmanager
def plain_errors(fix: str = "Fix this, then run the same command again.") -> Iterator[None]:
    """Print errors that the user can fix without a traceback, and exit with the code of bad input."""
    try:
        yield
    except RlotteryError as error:
        fail(error)
    except OSError as error:
        fail(StudyError(f"{error}. {fix}"))
    except UnicodeEncodeError as error:  # file names; what is printed can always be
        why = f"{error.object!r} can't be the name of a file in this locale, whose encoding is {error.encoding}"
        fail(StudyError(f"{why}. Set PYTHONUTF8=1 in the environment, or choose another name."))


def fail(error: RlotteryError) -> NoReturn:
    """Print the message and end the process with the exit code of bad input."""
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(BAD_INPUT) from None
