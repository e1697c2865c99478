"""The code blocks of a Markdown page, and commands as if they were typed, in this process."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlottery.cli import app

NOT_RUN = ("pip install", "uv sync", "uv run pytest", "git clone")
"""Installing, and the tests that these tests are part of."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, code) of every fenced block that names a language."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def commands(code: str) -> list[str]:
    """The commands of a bash block, comments taken off."""
    lines = (line.split("  #")[0].strip() for line in code.splitlines())
    return [line for line in lines if line and not line.startswith(("#", *NOT_RUN))]


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints that was typed in the working directory; "" for a script, which prints as always."""
    program, *arguments = shlex.split(command.removeprefix("uv run "))
    if program == "rlottery":
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{command}\n{result.output}\n{result.exception!r}"
        return result.output
    assert program == "python" and arguments[0].endswith(".py"), f"how is {command} to be tested?"
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(arguments[0], run_name="__main__")
    return ""
