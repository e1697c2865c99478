"""docs/agents.md lists every algorithm, and the page of each has the keys, defaults and metrics of the code."""

import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rlottery.agents.algorithms import ALGORITHMS
from rlottery.agents.base import functions_of
from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.config.yaml_lines import show

DOCS = Path(__file__).parent.parent / "docs"
SECTIONS = ("Networks", "Keys", "Metrics", "What criteria read", "Differences", "Learning curves")


def page(name: str) -> str:
    return (DOCS / "agents" / f"{name}.md").read_text()


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, row by row, without its header."""
    section = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.M)[0]
    table = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", section, flags=re.M)
    assert table is not None, f"no table under {heading}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def plain(cell: str) -> str:
    return cell.strip(" `")


def test_the_overview_has_a_row_for_each_algorithm() -> None:
    overview = (DOCS / "agents.md").read_text().replace("# Agents\n", "# Agents\n\n## Table\n", 1)
    found = {row[0].split("`")[1]: row for row in rows(overview, "Table")}
    assert found.keys() == ALGORITHMS.keys()
    for name, row in found.items():
        assert row[3] == ", ".join(f"`{group}`" for group in ALGORITHMS[name].groups)
        assert f"(agents/{name}.md)" in row[5]
    assert {path.stem for path in (DOCS / "agents").glob("*.md")} == ALGORITHMS.keys()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_page_has_every_key_with_its_default(name: str) -> None:
    fields = type(getattr(Config(tasks=("A-v0",), seeds=(0,)), name)).model_fields
    found = {plain(key): plain(default) for key, default, _ in rows(page(name), "Keys")}
    assert list(found) == list(fields)
    for key, default in found.items():
        expected = fields[key].default
        if isinstance(expected, int | float) and not isinstance(expected, bool):
            assert float(default) == expected, key
        else:
            assert default == show(expected).strip("'"), key


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_page_has_every_metric(name: str) -> None:
    algorithm, n = functions_of(ALGORITHMS[name]), 4
    spec = Spec(3, 2, discrete=algorithm.description.learns == ("discrete",))
    config = Config(tasks=("A-v0",), seeds=(0,), algorithm=name)
    settings = algorithm.description.settings(config, config.tasks[0])
    key = jax.random.key(0)
    state = algorithm.init(algorithm.init_params(key, spec, settings), key, settings)
    batch = algorithm.batch(jnp.zeros((n, 10)), spec)  # of transitions; a prepared rollout has fewer columns
    _, metrics = jax.eval_shape(partial(algorithm.update, settings=settings), state, batch)
    assert {plain(row[0]) for row in rows(page(name), "Metrics")} == metrics.keys()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_page_says_what_criteria_read_of_each_group(name: str) -> None:
    groups = list(ALGORITHMS[name].groups)
    assert [plain(row[0]) for row in rows(page(name), "What criteria read")] == groups
    assert [plain(row[0]) for row in rows(page(name), "Networks")] == groups
    assert set(SECTIONS) <= set(re.findall(r"^## (.+)$", page(name), flags=re.M))
