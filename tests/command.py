"""The command line, called in this process, and what it must leave alone when it refuses."""

import re
from pathlib import Path

from typer.testing import CliRunner

from rlottery.cli import app
from tests.study.studies import contents


def call(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def refusal(*arguments: str | Path) -> str:
    """The message of a command that must refuse its input and change no file. `rlottery run` may print a first line."""
    assert not Path("pyproject.toml").exists(), "the test must change to a folder of its own, all of which is read"
    before = contents(Path())
    code, output, message = call(*arguments)
    assert code == 2 and re.fullmatch(r"(Study .* Planning \.\.\.\n)?", output)
    assert message.startswith("error: ") and message.count("error: ") == 1 and "Traceback" not in message
    assert contents(Path()) == before
    return message
