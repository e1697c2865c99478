"""The pipeline as one function, for scripts and notebooks, and the frame that gives a script its command line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from rlottery.config import load_config
from rlottery.errors import RlotteryError
from rlottery.study.run import Outcome, conclude, run_study

BAD_INPUT, SOME_FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes of every command."""


def main(
    train_agent: bool = True,
    create_ticket: bool = True,
    run_ticket: bool = True,
    pruning_method: Literal["magnitude", "gradient"] = "magnitude",
    config: str | Path = "config.yaml",
) -> Outcome:
    """Train dense agents, make masks, train tickets, and show how they compare.

    What is done already is skipped. JAX is imported in worker processes alone, so notebooks and scripts without a
    main guard are safe.

    Args:
        train_agent: train the dense agents and save their replay buffers.
        create_ticket: make the pruning masks.
        run_ticket: train the tickets from the rewound, masked weights.
        pruning_method: "magnitude" scores weights by |w|, "gradient" as ``pruning.gradient_method`` says.
        config: the YAML file.

    Raises:
        RlotteryError: bad input, before any work starts; the message names the mend.
    """
    chosen = {"dense": train_agent, "mask": create_ticket, "ticket": run_ticket}
    stages = [stage for stage, wanted in chosen.items() if wanted]
    if not stages:
        raise RlotteryError("Nothing to do: set train_agent, create_ticket or run_ticket to True.")
    loaded = load_config(Path(config))
    console = Console()
    import_from_working_directory()
    outcome = run_study(loaded, pruning_method, stages, console)
    conclude(outcome, loaded, console)
    return outcome


def with_command_line(pipeline: Callable[..., Outcome]) -> Callable[..., NoReturn]:
    """`pipeline` with the script's own arguments: flags given on the command line win over the call's values.

    Errors that the user can mend are printed without a traceback; the process ends with an exit code.
    """

    def call(**defaults: Any) -> NoReturn:
        def command(
            train_agent: Annotated[
                bool, typer.Option(help="Train the dense agents and save their replay buffers.")
            ] = defaults.get("train_agent", True),
            create_ticket: Annotated[bool, typer.Option(help="Make the pruning masks.")] = defaults.get(
                "create_ticket", True
            ),
            run_ticket: Annotated[bool, typer.Option(help="Train the tickets: rewound weights x mask.")] = defaults.get(
                "run_ticket", True
            ),
            pruning_method: Annotated[
                str,
                typer.Option(help="magnitude scores weights by |w|; gradient as pruning.gradient_method says."),
            ] = defaults.get("pruning_method", "magnitude"),
            config: Annotated[str, typer.Option(help="The study's YAML file.")] = str(
                defaults.get("config", "config.yaml")
            ),
        ) -> None:
            """Train dense agents, make pruning masks, train lottery tickets, compare. Done work is skipped."""
            run_and_exit(lambda: pipeline(train_agent, create_ticket, run_ticket, pruning_method, config))

        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        app()
        raise AssertionError("typer ends the process")

    return call


def run_and_exit(work: Callable[[], Outcome]) -> NoReturn:
    """Do `work` and end the process: 0 done, 1 some runs failed, 2 bad input, 130 interrupted."""
    try:
        outcome = work()
    except RlotteryError as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo("Interrupted. All workers have ended; run the same command again to go on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(SOME_FAILED if outcome.failed else 0)


def fail(error: RlotteryError) -> NoReturn:
    """Print the message and end the process with the code of bad input."""
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(BAD_INPUT) from None


def import_from_working_directory() -> None:
    """Let tasks written as module:Id find modules beside the config, as ``python script.py`` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
