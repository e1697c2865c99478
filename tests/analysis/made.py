"""Runs made up for tests of scores and verdicts: no store, no files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlottery.analysis.judging import TaskToJudge
from rlottery.analysis.kinds import LayerCounts
from rlottery.analysis.runs import Evaluation, Run
from rlottery.analysis.scores import task_scores
from rlottery.config import Config
from rlottery.storage.paths import RunFiles

COUNTS = LayerCounts({"actor.layer_0": 100}, dict.fromkeys(range(20), (10,)))


def config(seeds: int, **verdict: Any) -> Config:
    """300 steps, an evaluation every 100, of which the last makes the score."""
    return Config.model_validate(
        {
            "tasks": ["a", "b", "c"],
            "seeds": list(range(seeds)),
            "training": {"env_steps": 300, "warmup_steps": 10},
            "evaluation": {"interval": 100, "score_evaluations": 1},
            "verdict": {"resamples": 100, **verdict},
        }
    )


def run(arm: str, seed: int, *returns: float, **facts: Any) -> Run:
    """Evaluations at steps 0, 100, 200, ..."""
    made = tuple(Evaluation(100 * i, {"return": value}, (value,)) for i, value in enumerate(returns))
    given: dict[str, Any] = {"status": "done", "env_steps": 300, **facts}
    return Run(arm, seed, RunFiles(Path("nowhere")), evaluations=made, **given)


def ticket(name: str) -> dict[str, Any]:
    criterion, percent = name.split("-")
    share = int(percent) / 100
    return {"criterion": criterion, "sparsity": {"actor": share, "critic": share}}


def control(name: str, of: str) -> dict[str, Any]:
    facts = ticket(of)
    recipe = {"control": "random", "of": {"criterion": facts["criterion"], "sparsity": facts["sparsity"]}}
    return {"criterion": "random", "sparsity": facts["sparsity"], "recipe": recipe}


def task(
    name: str,
    settings: Config,
    scores: Mapping[str, Sequence[float]],
    controls: Mapping[str, str] | None = None,
    untrained: Sequence[float] | None = None,
    middle: Mapping[str, Sequence[float]] | None = None,
    least_gain: float = 0.1,
) -> TaskToJudge:
    """A task whose arms end with these scores, one for each seed.

    Args:
        controls: control -> the ticket that it is a control of. Tickets are named criterion-percent.
        untrained: score of each seed before training; 0 by default.
        middle: arm -> scores at steps 100 and 200; half of the final score by default.
    """
    runs: dict[str, list[Run]] = {}
    for arm, ends in scores.items():
        of = (controls or {}).get(arm)
        facts = {} if arm == "dense" else control(arm, of) if of else ticket(arm)
        for seed, end in enumerate(ends):
            start = untrained[seed] if untrained else 0.0
            between = middle[arm][seed] if middle else end / 2
            runs.setdefault(arm, []).append(run(arm, seed, start, between, between, end, **facts))
    all_runs = [one for of_arm in runs.values() for one in of_arm]
    made = task_scores(name, all_runs, least_gain, settings)
    counts = {arm: COUNTS for arm in scores if arm != "dense"}
    return TaskToJudge(made, counts)
