"""The page Get started: other tests run its commands, and its answer is that of a committed study."""

import csv
import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from rlottery.config import load_config
from rlottery.report.closing import Closing
from rlottery.report.collect import collect
from rlottery.report.summary import summarise
from rlottery.storage.paths import Store
from tests.analysis.stores import returns, write_mask, write_run
from tests.code_blocks import NOT_RUN, blocks, commands
from tests.study.studies import write_untrained

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "get-started.md"
STUDY = ROOT / "results" / "default"
CONTROL = {"control": "random", "of": {"criterion": "magnitude", "sparsity": {"actor": 0.8, "critic": 0.8}}}
ARMS: dict[str, dict[str, Any]] = {
    "dense": {},
    "magnitude-80": {},
    "random-of-magnitude-80": {"recipe": CONTROL, "sparsity": {"actor": 0.8, "critic": 0.8}},
}
"""What the first command trains -> what their manifests say."""


def typed(page: Path) -> set[str]:
    """The commands of a page as they are typed if rlottery is installed."""
    found = (commands(code) for language, code in blocks(page) if language == "bash")
    return {command.removeprefix("uv run ") for of_block in found for command in of_block}


def test_its_commands_are_run_by_the_tests_of_other_pages() -> None:
    others = [ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if page != PAGE)]
    mine = typed(PAGE)
    assert "rlottery run" in mine and not any(command.startswith(NOT_RUN) for command in mine)
    assert mine - set().union(*map(typed, others)) == set()


def test_its_answer_is_that_of_the_committed_study(tmp_path: Path) -> None:
    config = load_config(ROOT / "config.yaml", [f"data={tmp_path / 'data'}"])
    store = Store(config.data)
    for row in csv.DictReader((STUDY / "comparison.csv").read_text().splitlines()):
        if (arm := row["arm"]) in ARMS:
            rows = returns(float(row["untrained"]), *[float(row["score"])] * 15)
            rows = [evaluation | {"env_steps": 1000 * number} for number, evaluation in enumerate(rows)]
            write_run(store, arm, int(row["seed"]), rows, task=row["task"], **ARMS[arm])
            if arm != "dense":
                write_mask(store.run(row["task"], int(row["seed"]), arm).mask, [0, 1])
    fresh = csv.DictReader((STUDY / "tables" / "untrained.csv").read_text().splitlines())
    write_untrained(config, *(float(row["score"]) for row in fresh if row["policies"] == "fresh"))

    shown = Console(width=92, height=24, file=io.StringIO(), force_terminal=False)
    shown.print(Closing(summarise(collect(store, config))))
    (quoted,) = re.findall(r"^```\n(On Inverted.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    printed = shown.file.getvalue()  # type: ignore[attr-defined]
    assert quoted in "".join(f"{line.rstrip()}\n" for line in printed.splitlines()), printed
