"""The tutorials are run from top to bottom, with small budgets; what they show is what commands print, or committed."""

import contextlib
import io
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import yaml

from rlottery.report import files
from tests.code_blocks import commands, run
from tests.study.execution.in_process import train_in_this_process

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
FIRST = TUTORIALS / "first-ticket.md"
CONTINUES = {"pandas": "my-study"}
"""Tutorials that begin in a folder which the first one has made."""
NEEDS = {"transfer": ("metaworld",), "sb3-to-onnx": ("onnx", "onnxruntime")}
"""Packages of the extras that tutorials install."""

SMALL: dict[str, dict[str, Any]] = {
    "network": {"actor": [32, 32], "critic": [32, 32]},
    "training": {"env_steps": 250, "warmup_steps": 200},
    "evaluation": {"interval": 250, "episodes": 1, "score_evaluations": 1, "untrained_policies": 2},
}
_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>output|from (?P<source>\S+)) -->\n)?"
    r"(?:```(?P<language>\w*)\n(?P<code>.*?)^```|(?<=-->\n)(?P<quoted>(?:[>|][^\n]*\n)+))",
    re.M | re.S,
)


def pages() -> list[Path]:
    return sorted(TUTORIALS.glob("*.md"))


def with_a_small_budget(config: Path) -> None:
    """One seed, few steps and small networks, in a config that a page has written."""
    written = yaml.safe_load(config.read_text())
    if "tasks" not in written or (config.parent / "data").exists():  # a cluster's profile; an imported agent's study
        return
    for section, keys in SMALL.items():
        written[section] = written.get(section, {}) | keys
    config.write_text(yaml.safe_dump(written | {"seeds": [0]}))


def shown(text: str) -> list[str]:
    """Lines without the blanks that a terminal's width decides."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


class Reader:
    """Somebody who does what a page says, in a folder."""

    def __init__(self, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._page, self._monkeypatch = page, monkeypatch
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._printed = ""

    def read(self) -> None:
        for block in _BLOCK.finditer(self._page.read_text()):
            if block["source"]:
                self._compare(block["code"] or block["quoted"], (ROOT / block["source"]).read_text())
            elif block["kind"]:
                self._compare(block["code"], self._printed)
            else:
                self._do(block["language"], block["code"])

    def _compare(self, said: str, text: str) -> None:
        lines = iter(shown(text))
        for line in shown(said):
            assert line in lines, f"{self._page.name}: {line!r} isn't there, or not in this order"

    def _do(self, language: str, code: str) -> None:
        assert language in ("bash", "python", "yaml"), f"{self._page.name}: how is a {language!r} block to be tested?"
        if name := re.match(r"# (\w+\.(?:py|yaml))\n", code):
            Path(name[1]).write_text(code)
            if name[1].endswith(".yaml"):
                with_a_small_budget(Path(name[1]))
        elif language == "yaml":
            assert isinstance(yaml.safe_load(code), dict)
        elif language == "python":
            self._printed = self._execute(code)
        else:
            self._printed = "\n".join(map(self._type, commands(code)))

    def _execute(self, code: str) -> str:
        if "import stable_baselines3" in code or "from stable_baselines3" in code:
            return train_elsewhere()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, self._page.name, "exec"), self._names)
        return printed.getvalue()

    def _type(self, command: str) -> str:
        if command.startswith("cd "):
            os.chdir(command.removeprefix("cd "))
            return ""
        if "--on slurm" in command and "--dry-run" not in command:
            # As on one machine, and for one seed: tests/test_slurm.py does this with a real Slurm.
            command = re.sub(r" --on slurm --profile cluster.yaml| seeds='.*?'", "", command)
        printed = run(command, self._monkeypatch)
        if command.startswith("rlottery init") and "--cluster" not in command:
            with_a_small_budget(Path(command.split()[-1], "config.yaml"))
        return printed


def train_elsewhere() -> str:
    """The files that a block with Stable-Baselines3 saves, of an agent that it has trained for 250 steps."""
    for name in ("agent.zip", "initial.zip", "replay.pkl"):
        shutil.copy(ROOT / "tests" / "fixtures" / "sb3" / name, name)
    return ""


def follow(page: Path, folder: Path) -> None:
    """Do what a page says. Commands run in this process, which imports JAX and compiles only once."""
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), contextlib.chdir(folder):
        warnings.simplefilter("ignore")
        patch.setattr(sys, "path", list(sys.path))
        patch.syspath_prepend(str(folder))
        patch.setattr(files, "write_report", lambda *_: [])  # test_docs.py draws reports
        train_in_this_process(patch)
        with matplotlib.rc_context():
            Reader(page, patch).read()
    for name in ("my_tasks", "my_scores"):
        if name not in modules:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the first tutorial was followed in."""
    folder = tmp_path_factory.mktemp("tutorials")
    follow(FIRST, folder)
    yield folder


def test_the_first_tutorial_ends_with_both_kinds_of_tickets(first: Path) -> None:
    runs = first / "my-study" / "data" / "runs" / "InvertedDoublePendulum-v5" / "seed_0"
    assert {run.name for run in runs.iterdir()} == {
        *("dense", "magnitude-80", "random-of-magnitude-80", "taylor-80", "random-of-taylor-80")
    }


@pytest.mark.parametrize("page", [page for page in pages() if page != FIRST], ids=lambda page: page.stem)
def test_a_tutorial_works_as_it_is_written(page: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    for package in NEEDS.get(page.stem, ()):
        if find_spec(package) is None:
            pytest.skip(f"{page.name} needs {package}: `uv sync` installs it")
    folder = tmp_path
    if page.stem in CONTINUES:
        folder = request.getfixturevalue("first") / CONTINUES[page.stem]
    follow(page, folder)


def test_the_positive_control_is_the_shipped_one() -> None:
    text = (TUTORIALS / "special-ticket.md").read_text()
    (config,) = re.findall(r"^```yaml\n(# control.yaml\n.*?)^```", text, flags=re.M | re.S)
    shipped = yaml.safe_load((ROOT / "configs" / "positive-control.yaml").read_text())
    assert yaml.safe_load(config) == shipped | {"data": "data"}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_tutorial_has_its_parts(page: Path) -> None:
    text = page.read_text()
    assert re.match(r"# .+\n\nAt the end ", text), "it begins with what the reader will have"
    headings = re.findall(r"^## (.+)$", text, flags=re.M)
    assert headings[-2:] == ["When something goes wrong", "Where to read on"]
    assert len(text.split()) <= 1200


def test_lines_that_are_not_there_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint('one', 'two')\n```\n\n<!-- output -->\n```\none  two\n```\n")
    follow(page, tmp_path)
    page.write_text(page.read_text().replace("one  two", "one three"))
    with pytest.raises(AssertionError, match="'one three' isn't there"):
        follow(page, tmp_path)
    page.write_text("<!-- from README.md -->\n| no such row |\n")
    with pytest.raises(AssertionError, match="no such row"):
        follow(page, tmp_path)
