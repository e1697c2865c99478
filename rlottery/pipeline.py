"""The pipeline as one function, for scripts and notebooks, and the frame that gives a script its command line."""

import inspect
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from rlottery.config import Config
from rlottery.errors import RlotteryError, StudyError
from rlottery.storage.open_study import config_from_file
from rlottery.study.run import Outcome, conclude, run_study

BAD_INPUT, SOME_FAILED, TOLD_TO_END, INTERRUPTED = 2, 1, 75, 130
"""Exit codes of every command. 75 is the system's own for a failure that passes: try again."""
EXIT_CODES = "Exit codes: 0 all is done, 1 some runs failed, 2 bad input, 75 told to end by SIGTERM, 130 by Ctrl-C."
METHOD_HELP = (
    "magnitude, which scores weights by |w|, or gradient, as pruning.gradient_method says. Not for a config that "
    "lists its arms."
)


def main(
    train_agent: bool = True,
    create_ticket: bool = True,
    run_ticket: bool = True,
    pruning_method: Literal["magnitude", "gradient"] | None = None,
    config: str | Path = "config.yaml",
) -> Outcome:
    """Train dense agents, make masks, train tickets, and show how they compare.

    What is done already is skipped. JAX is imported in worker processes alone, so notebooks and scripts without a
    main guard are safe.

    Args:
        train_agent: train the dense agents and save their replay buffers.
        create_ticket: make the pruning masks.
        run_ticket: train the tickets from the rewound, masked weights.
        pruning_method: "magnitude" scores weights by |w|, "gradient" as ``pruning.gradient_method`` says. None is
            magnitude, and every arm of a config that lists its own under ``arms``.
        config: the YAML file.

    Raises:
        RlotteryError: bad input, before any work starts; the message names the mend.
    """
    chosen = {"dense": train_agent, "mask": create_ticket, "ticket": run_ticket}
    stages = [stage for stage, wanted in chosen.items() if wanted]
    if not stages:
        raise RlotteryError("Nothing to do: set train_agent, create_ticket or run_ticket to True.")
    return run_and_conclude(config_from_file(Path(config)), pruning_method, stages)


def run_and_conclude(
    config: Config, method: str | None, stages: Sequence[str], names: Sequence[str] | None = None
) -> Outcome:
    """Run a study and show how it ended, on this process's terminal.

    Raises:
        RlotteryError: as `run_study` and `conclude`.
        SystemExit: a signal ended the study early, its work saved: 130 after Ctrl-C, 75 else.
    """
    console = Console()
    outcome = run_study(config, method, stages, console, names)
    try:
        conclude(outcome, config, console)
    except StudyError as error:
        if outcome.stopped is None and not outcome.failed:
            raise
        typer.echo(f"error: {error}", err=True)
    if outcome.stopped is not None:
        typer.echo("Stopped, and saved. Run the same command again to go on.", err=True)
        # Also out of a script that would go on with another call.
        raise SystemExit(INTERRUPTED if outcome.stopped == signal.SIGINT else TOLD_TO_END)
    return outcome


def with_command_line(pipeline: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """`pipeline` with the script's own arguments: flags on the command line win over the values of each call.

    What goes wrong ends the process as `finish` does; else the call returns, and the script goes on.
    """

    def call(*args: Any, **kwargs: Any) -> Outcome:
        given = inspect.signature(pipeline).bind(*args, **kwargs)
        given.apply_defaults()
        values, outcomes = given.arguments, []

        def command(
            context: typer.Context,
            train_agent: Annotated[
                bool, typer.Option(help="Train the dense agents and save their replay buffers.")
            ] = values["train_agent"],
            create_ticket: Annotated[bool, typer.Option(help="Make the pruning masks.")] = values["create_ticket"],
            run_ticket: Annotated[bool, typer.Option(help="Train the tickets: rewound weights x mask.")] = values[
                "run_ticket"
            ],
            pruning_method: Annotated[str | None, typer.Option(metavar="METHOD", help=METHOD_HELP)] = values[
                "pruning_method"
            ],
            config: Annotated[str, typer.Option(metavar="FILE", help="The study's YAML file.")] = str(values["config"]),
        ) -> None:
            """Train dense agents, make pruning masks, train lottery tickets, compare. Done work is skipped."""
            method = pruning_method
            source = context.get_parameter_source("pruning_method")
            if source is not None and source.name == "DEFAULT":  # the script's own, nobody's choice
                method = None if _lists_arms(config) else method
            outcomes.append(finish(lambda: pipeline(train_agent, create_ticket, run_ticket, method, config)))

        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(epilog=EXIT_CODES)(command)
        try:
            app()
        except SystemExit:
            if not outcomes:  # an error, or --help
                raise
        return outcomes[0]

    return call


def _lists_arms(config: str) -> bool:
    """Whether a script's own pruning method has nothing to choose: its config lists the arms, all of which are run."""
    try:
        return bool(config_from_file(Path(config)).arms)
    except RlotteryError:
        return False  # which is told where the pipeline reads it


def finish(work: Callable[[], Outcome]) -> Outcome:
    """Do `work` for a command: errors that the user can mend are printed without a traceback.

    Raises:
        typer.Exit: with code 1 if some runs failed, 2 for bad input, 130 after a second interrupt.
    """
    try:
        outcome = work()
    except RlotteryError as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo("Stopped at once. Run the same command again to go on from the last checkpoints.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        fail(StudyError(f"{error}. What was written before is whole: mend that, then run the same command again."))
    if outcome.failed:
        raise typer.Exit(SOME_FAILED)
    return outcome


def fail(error: RlotteryError) -> NoReturn:
    """Print the message and end the process with the code of bad input."""
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(BAD_INPUT) from None
