"""docs/metrics.md lists exactly what is logged: by group, as the code that writes each group names it."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from rlottery.envs import Step
from rlottery.training import loop
from rlottery.training.evaluation import EpisodeResults
from rlottery.training.meters import EpisodeMeter, LossMeter
from tests.cases import CASES
from tests.test_docs_agents import DOCS, plain, rows
from tests.training.test_agent_metrics import row_of

PAGE = (DOCS / "metrics.md").read_text()
COMMON = {"kind", "env_steps"}


def listed(kind: str) -> set[str]:
    """The metrics of a group, with the names of groups of networks filled in."""
    names = [plain(row[0]) for row in rows(PAGE, kind)]
    assert len(set(names)) == len(names) and all(all(row) for row in rows(PAGE, kind))
    groups = {group for case in CASES for group in case.groups}
    return {name.replace("GROUP", group) for name in names for group in groups}


def test_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    results = EpisodeResults(returns=[1.0, 2.0], lengths=[3, 4], successes=[0.0, 1.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_: results)
    place: Any = SimpleNamespace(env_steps=5)
    row = loop.evaluation_row(place, SimpleNamespace(evaluation_seeds=[1, 2]), [])  # type: ignore[arg-type]
    assert listed("evaluation") == row.keys() - COMMON


def test_episode() -> None:
    meter = EpisodeMeter()
    meter.add(Step(np.zeros(1, np.float32), 1.0, terminated=True, truncated=False, success=True))
    assert listed("episode") == meter.row(100).keys() - COMMON


def test_losses() -> None:
    found: dict[str, set[str]] = {}
    for case in CASES:
        settings = case.settings(8, 6)
        update = partial(case.algorithm.update, settings=settings)
        _, metrics = jax.eval_shape(update, case.fresh(settings), case.batch(size=8))
        meter = LossMeter()
        meter.add(dict.fromkeys(metrics, 0.0))
        for name in meter.row(1000).keys() - COMMON:
            found.setdefault(name, set()).add(case.algorithm.description.name.upper())
    said = {plain(row[0]): row[1] for row in rows(PAGE, "losses")}
    everybody = ", ".join(sorted(set.union(*found.values())))
    assert {name: {*of.replace("all", everybody).split(", ")} for name, of in said.items()} == found


def test_agent() -> None:
    found = {"replay_ratio"}
    for case in CASES:
        found |= row_of(case, case.fresh(case.settings(8, 6))).keys()
        found |= {f"{group}_gradient_norm" for group in case.groups}  # after the first update
    assert listed("agent") == found
