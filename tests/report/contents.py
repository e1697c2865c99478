"""Contents of a report, made up by hand: three tasks, five seeds, fourteen arms, one failed run, one diverged."""

import base64
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.analysis.across_tasks import AcrossTasks, Profile
from rlottery.analysis.mask_analysis import ArmMasks, InputShare, LayerSurvivors, MaskAnalysis, MaskOverlap
from rlottery.analysis.runs import Evaluation, Run
from rlottery.analysis.scores import ArmScores, Estimate, TaskScores
from rlottery.analysis.verdict import (
    Answer,
    AnswerWord,
    ArmVerdict,
    Comparison,
    ContrastResult,
    FailedRuns,
    Failures,
    LeftOut,
    MethodContrast,
    MethodTrend,
    PooledAnswer,
    PooledVerdict,
    Question,
    TaskVerdict,
    Verdicts,
)
from rlottery.report.contents import ArmCost, Command, Contents
from rlottery.storage.paths import RunFiles

SEEDS = (0, 1, 2, 3, 4)
SPARSITIES = (80, 90, 95, 98)
TICKETS = tuple(f"{criterion}-{percent}" for percent in SPARSITIES for criterion in ("magnitude", "taylor"))
CONTROLS = (*(f"random-{percent}" for percent in SPARSITIES), "small-dense-95")
ARMS = ("dense", *TICKETS, *CONTROLS)
# Task: metric, score untrained, score of the dense agents.
TASKS = {
    "InvertedDoublePendulum-v5": ("return", 55.0, 9310.0),
    "drawer-close-v3": ("success", 0.0, 0.96),
    "Reacher-v5": ("return", -43.0, -5.4),
}
GIF = base64.b64decode("R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=")
"""One pixel."""


def contents(seeds: tuple[int, ...] = SEEDS, evaluations: int = 11, more_arms: int = 0) -> Contents:
    """The made-up study. `more_arms` adds tickets by other criteria, all at 95 %."""
    arms = (*ARMS, *(f"other{number}-95" for number in range(more_arms)))
    runs = {task: _runs(task, arms, seeds, evaluations) for task in TASKS}
    scores = tuple(_task_scores(task, runs[task], arms) for task in TASKS)
    return Contents(
        title="reference",
        config={
            "name": "reference",
            "contrasts": ["taylor-95 > magnitude-95"],
            "verdict": {"level": 0.05, "margin": 0.1, "threshold": 0.9},
        },
        config_text="name: reference\ntasks:\n  - Reacher-v5  # <b>not bold</b>\nseeds: [0, 1, 2, 3, 4]\n",
        commands=(Command(1_790_000_000.0, "rlottery run results/reference/config.yaml", "0.1.0", seeds),),
        versions={"jax": "0.10.2", "numpy": "2.4.6", "rlottery": "0.1.0"},
        seeds=seeds,
        score_evaluations=3,
        lists_arms=True,
        scores=scores,
        across=tuple(_across(arm, seeds) for arm in arms),
        verdicts=_verdicts(runs, arms, seeds),
        masks=_masks(arms, seeds),
        costs=tuple(_cost(task, arm) for task in TASKS for arm in arms),
        missing=(
            "Reacher-v5, random-98, seed 4: failed: environment process ended with code 139",
            "drawer-close-v3, magnitude-98, seed 3: diverged: the critic's loss is NaN at step 17,250",
        ),
        films={"Reacher-v5": ("image/gif", GIF)},
        claims={("taylor-95 > magnitude-95", "score"): 0},
    )


def empty() -> Contents:
    """A study in which no run is done yet."""
    return replace(
        contents(),
        scores=(),
        across=(),
        verdicts=Verdicts((), (), (), (), (), 0),
        masks=MaskAnalysis((), (), ()),
        costs=(),
        missing=(),
        films={},
        commands=(),
        versions={},
    )


def renamed(made: Contents, arm: str, name: str) -> Contents:
    """The same with another name for an arm or task."""

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return name if value == arm else value
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        if isinstance(value, dict):
            return {changed(key): changed(inner) for key, inner in value.items()}
        if hasattr(value, "__dataclass_fields__"):
            return replace(value, **{key: changed(getattr(value, key)) for key in value.__dataclass_fields__})
        return value

    return changed(made)


def sparsity_of(arm: str) -> float | None:
    return None if arm == "dense" else int(arm.rpartition("-")[2]) / 100


def control_of(arm: str) -> str | None:
    return f"random-{arm.rpartition('-')[2]}" if arm in TICKETS else None


def worth(arm: str, task: str) -> float:
    """The normalised score of an arm, about."""
    if arm == "dense":
        return 1.0
    kind, _, percent = arm.rpartition("-")
    loss = {80: 0.02, 90: 0.08, 95: 0.22, 98: 0.5}[int(percent)]
    ease = {"InvertedDoublePendulum-v5": 1.3, "drawer-close-v3": 1.0, "Reacher-v5": 0.4}[task]
    return 1 - ease * loss * {"taylor": 0.6, "magnitude": 1.2, "random": 0.8, "small-dense": 0.4}.get(kind, 1.0)


def _recipe(arm: str) -> dict[str, Any]:
    percent = arm.rpartition("-")[2]
    if arm.startswith("random"):
        return {"control": "random", "of": {"criterion": "taylor", "sparsity": int(percent) / 100}}
    return (
        {"control": "small-dense", "of": {"criterion": "taylor", "sparsity": 0.95}}
        if arm.startswith("small-dense")
        else {}
    )


def _criterion(arm: str) -> str | None:
    return None if arm == "dense" else arm.rpartition("-")[0] if arm in (*TICKETS, *CONTROLS) else "taylor"


def _runs(task: str, arms: tuple[str, ...], seeds: tuple[int, ...], evaluations: int) -> tuple[Run, ...]:
    metric, untrained, dense = TASKS[task]
    generator = np.random.default_rng(len(task))
    found = []
    for arm in arms:
        for seed in seeds:
            steps = np.linspace(0, 25_000, evaluations).round().astype(int)
            late = generator.uniform(3_000, 9_000)
            height = worth(arm, task) + generator.normal(0, 0.05)
            rise = height / (1 + np.exp(-(steps - late) / 2_000)) + generator.normal(0, 0.03, steps.size)
            values = untrained + (dense - untrained) * np.where(steps == 0, 0, rise)
            values = np.clip(values, 0, 1) if metric == "success" else values
            status, error = _fate(task, arm, seed)
            kept = steps.size if status == "done" else steps.size * 2 // 3
            recipe = _recipe(arm)
            share = sparsity_of(arm)
            found.append(
                Run(
                    arm=arm,
                    seed=seed,
                    files=RunFiles(Path("data") / task / f"seed_{seed}" / arm),
                    status=status,
                    error=error,
                    method=None if arm == "dense" else "magnitude" if arm.startswith("magnitude") else "gradient",
                    criterion=_criterion(arm),
                    sparsity=None if share is None else {"actor": share, "critic": share},
                    env_steps=25_000,
                    recipe=recipe,
                    evaluations=tuple(
                        Evaluation(int(step), _both(metric, float(value)), (float(value),) * 10)
                        for step, value in list(zip(steps, values, strict=True))[:kept]
                    ),
                )
            )
    return tuple(found)


def _both(metric: str, value: float) -> dict[str, float]:
    return {"return": 4000 * value, "success": value} if metric == "success" else {"return": value}


def _fate(task: str, arm: str, seed: int) -> tuple[Any, str | None]:
    if (task, arm, seed) == ("Reacher-v5", "random-98", 4):
        return "failed", "environment process ended with code 139"
    if (task, arm, seed) == ("drawer-close-v3", "magnitude-98", 3):
        return "diverged", "the critic's loss is NaN at step 17,250"
    return "done", None


def _score(run: Run, metric: str) -> float:
    return statistics.fmean(evaluation.scores[metric] for evaluation in run.evaluations[-3:])


def _estimate(values: list[float]) -> Estimate:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None)
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half)


def _task_scores(task: str, runs: tuple[Run, ...], arms: tuple[str, ...]) -> TaskScores:
    metric, untrained, dense = TASKS[task]
    found = []
    for arm in arms:
        of_arm = [run for run in runs if run.arm == arm and run.status != "failed"]
        scores = {run.seed: _score(run, metric) if run.status == "done" else untrained for run in of_arm}
        values = list(scores.values())
        found.append(
            ArmScores(
                arm=arm,
                scores=scores,
                areas={seed: 0.7 * score for seed, score in scores.items()},
                steps={seed: None if seed == 2 and "98" in arm else 10_000 + 2_500 * seed for seed in scores},
                normalised={seed: (score - untrained) / (dense - untrained) for seed, score in scores.items()},
                mean=_estimate(values),
                median=replace(_estimate(values), value=statistics.median(values)),
                iqm=_estimate(sorted(values)[1:-1] or values),
            )
        )
    starts = {run.seed: run.evaluations[0].scores[metric] for run in runs if run.arm == "dense"}
    gain = dense - untrained
    by_arm = {arm: tuple(run for run in runs if run.arm == arm) for arm in arms}
    threshold = untrained + 0.9 * gain
    return TaskScores(task, metric, untrained, dense, gain, 0.05, threshold, starts, tuple(found), by_arm)


def compared(task: str, against: str, share: float, n: int) -> Comparison:
    """A difference of this share of the gain, with an interval of 0.09 to both sides."""
    p = float(np.clip(0.5 - 2.5 * (share + 0.1), 0.001, 0.999))
    _, untrained, dense = TASKS[task]
    raw = [part * (dense - untrained) for part in (share, share - 0.09, share + 0.09)]
    claims: dict[Any, float] = {"better": p, "worse": 1 - p, "equivalent": 0.4}
    if against == "dense":
        claims = {"superior": min(1.0, p + 0.3), "non-inferior": p, "worse": 1 - p}
    return Comparison(
        against=against,
        n=n,
        n_other=n,
        difference=share,
        low=share - 0.09,
        high=share + 0.09,
        raw_difference=raw[0],
        raw_low=raw[1],
        raw_high=raw[2],
        from_start=share - 0.01,
        p=claims,
    )


def answer_of(question: Question, word: AnswerWord | None, comparison: Comparison | None, **more: Any) -> Answer:
    """An answer with Holm p-values that make it."""
    p = comparison.p if comparison else {}
    adjusted = {claim: 0.01 if claim == word else min(1.0, 4 * value + 0.1) for claim, value in p.items()}
    why = "as the numbers say" if word else "a control: compared, but not judged"
    least = None if comparison is None else 0.15
    given: dict[str, Any] = {"why": why, "adjusted": adjusted if word else {}, "detectable": least, **more}
    return Answer(question=question, answer=word, comparison=comparison, **given)


def _arm_verdict(task: str, arm: str, seeds: tuple[int, ...]) -> ArmVerdict:
    control = control_of(arm)
    share, n = worth(arm, task) - 1, len(seeds)
    to_dense = compared(task, "dense", share, n)
    if control is None:
        none, nothing = answer_of("dense", None, to_dense), answer_of("random", None, None)
        return ArmVerdict(task=task, arm=arm, control=None, dense=none, random=nothing, kind="control")
    over = worth(arm, task) - worth(control, task)
    dense: AnswerWord = "worse" if share < -0.2 else "non-inferior" if share > -0.02 else "open"
    random: AnswerWord = "better" if over > 0.12 else "worse" if over < -0.1 else "open"
    if task == "drawer-close-v3" and arm == "taylor-80":
        random = "equivalent"
    more = None if arm.endswith("90") else 7
    measure = "area" if task == "drawer-close-v3" and arm.endswith("80") else "score"
    failed = FailedRuns(1 if arm == "magnitude-98" else 0, n)
    p: dict[Question, float] = {"dense": 0.5, "random": 0.75}
    return ArmVerdict(
        task=task,
        arm=arm,
        control=control,
        dense=answer_of("dense", dense, to_dense, measure=measure, more_seeds=more if dense == "open" else None),
        random=answer_of(
            "random",
            random,
            compared(task, control, over, n),
            measure=measure,
            more_seeds=more if random == "open" else None,
        ),
        failures=Failures(
            ticket=failed,
            dense=FailedRuns(0, n),
            control=FailedRuns(0, n),
            rate_at_most=0.45,
            p=p,
            adjusted=dict.fromkeys(p, 1.0),
        ),
        headroom=1 - worth(control, task),
    )


def contrast_result(text: str, task: str | None, outcome: Any, difference: float, **more: Any) -> ContrastResult:
    """A contrast of two arms, ``a > b`` or ``a vs b``, with an interval of 0.1 to both sides."""
    plus, sign, minus = text.split()
    raw: dict[str, Any] = {}
    if task is not None:
        gain = TASKS[task][2] - TASKS[task][1]
        ends = zip(("raw_difference", "raw_low", "raw_high"), (0.0, -0.1, 0.1), strict=True)
        raw = {name: (difference + end) * gain for name, end in ends}
    given: dict[str, Any] = {"origin": "registered", "measure": "score", "p": 0.01, "adjusted": 0.02, **raw, **more}
    return ContrastResult(
        text=text,
        two_sided=sign == "vs",
        task=task,
        plus=(plus,),
        minus=(minus,),
        runs={plus: 5, minus: 4},
        difference=difference,
        low=difference - 0.1,
        high=difference + 0.1,
        outcome=outcome,
        tasks=(task,) if task else tuple(TASKS),
        **given,
    )


def _verdicts(runs: dict[str, tuple[Run, ...]], arms: tuple[str, ...], seeds: tuple[int, ...]) -> Verdicts:
    tickets = [arm for arm in arms if arm in TICKETS]
    tasks = tuple(
        TaskVerdict(
            task,
            "learned",
            f"the dense agents of all {len(seeds)} seeds learned",
            seeds,
            0.0004,
            tuple(_arm_verdict(task, arm, seeds) for arm in arms if arm != "dense"),
        )
        for task in TASKS
    )
    pooled = tuple(_pooled(arm) for arm in tickets)
    methods = []
    for task in (*TASKS, None):
        for percent in SPARSITIES:
            gap = statistics.fmean(
                worth(f"taylor-{percent}", one) - worth(f"magnitude-{percent}", one)
                for one in ([task] if task else TASKS)
            )
            methods.append(
                MethodContrast(
                    task=task,
                    measure="score",
                    sparsity={"actor": percent / 100, "critic": percent / 100},
                    magnitude=f"magnitude-{percent}",
                    gradient=f"taylor-{percent}",
                    difference=gap,
                    low=gap - 0.11,
                    high=gap + 0.11,
                    p=0.01 if gap > 0.11 else 0.4,
                    adjusted=0.04 if gap > 0.11 else 1.0,
                    n=len(seeds) * (1 if task else len(TASKS)),
                    fewest=len(seeds),
                    tasks=(task,) if task else tuple(TASKS),
                )
            )
    ends = ({"actor": share, "critic": share} for share in (0.8, 0.98))
    rest = (*ends, ("taylor-80", "taylor-98"), 0.26, -0.02, 0.54, 0.09, 0.09)
    trends = tuple(MethodTrend(task, "score", "taylor", *rest, 5 if task else 15, 5) for task in (*TASKS, None))
    rules = (
        "A winning ticket is non-inferior to dense at a margin of 0.10, and better than its random control.",
        "One-sided Welch tests at a level of 5 %, after Holm's correction over arms and tasks.",
    )
    contrasts = (
        contrast_result("taylor-95 > magnitude-95", "Reacher-v5", "plus", 0.2),
        contrast_result("taylor-95 > magnitude-95", None, "open", 0.05, median=0.1),
        contrast_result("random-80 vs dense", "Reacher-v5", "open", 0.01, origin="against dense"),
    )
    return Verdicts(rules, tasks, pooled, tuple(methods), trends, seeds_added=0, contrasts=contrasts)


def pooled_answer(question: Question, word: AnswerWord | None, difference: float, **more: Any) -> PooledAnswer:
    """An answer over all tasks, which any two of them would give, too."""
    low, high = difference - 0.06, difference + 0.06
    against = "dense" if question == "dense" else "its random control"
    adjusted: dict[Any, float] = {"worse": 0.012 if word == "worse" else 1.0}
    given: dict[str, Any] = {
        "comparison": Comparison(
            against=against, n=15, n_other=15, difference=difference, low=low, high=high, p={"worse": 0.003}
        ),
        "adjusted": adjusted,
        "tasks": tuple(TASKS),
        "measures": dict.fromkeys(TASKS, "score"),
        "median": difference + 0.01,
        "without": {task: LeftOut(difference, low, high, word) for task in TASKS} if word else {},
        **more,
    }
    return PooledAnswer(question=question, answer=word, why="as the numbers say", **given)


def _pooled(arm: str) -> PooledVerdict:
    share = statistics.fmean(worth(arm, task) for task in TASKS) - 1
    return PooledVerdict(
        arm, pooled_answer("dense", "worse" if share < -0.2 else "open", share), pooled_answer("random", "open", 0.05)
    )


def _across(arm: str, seeds: tuple[int, ...]) -> AcrossTasks:
    share = statistics.fmean(worth(arm, task) for task in TASKS)
    at = np.linspace(0, 1.2, 61)
    reached = 1 / (1 + np.exp((at - share) / 0.06))
    band = 0.12 * reached * (1 - reached) * 4
    estimate = Estimate(share, share - 0.06, share + 0.05)
    over_dense = None if arm == "dense" else Estimate(0.5 * share, 0.5 * share - 0.15, min(1.0, 0.5 * share + 0.15))
    return AcrossTasks(
        arm=arm,
        tasks=tuple(TASKS),
        runs=len(TASKS) * len(seeds),
        mean=estimate,
        median=replace(estimate, value=share + 0.01),
        iqm=replace(estimate, value=share + 0.02),
        profile=Profile(arm, at, reached, np.clip(reached - band, 0, 1), np.clip(reached + band, 0, 1)),
        over_dense=over_dense,
        over_control=Estimate(0.58, 0.41, 0.74) if arm in TICKETS else None,
    )


def _masks(arms: tuple[str, ...], seeds: tuple[int, ...]) -> MaskAnalysis:
    generator = np.random.default_rng(7)
    found = []
    for task in TASKS:
        for arm in arms:
            share = sparsity_of(arm)
            if share is None or arm.startswith("small-dense"):
                continue
            sizes = {"actor.layer_0": (11, 256), "actor.layer_1": (256, 256), "actor.layer_2": (256, 2)}
            found.append(
                ArmMasks(
                    task=task,
                    arm=arm,
                    seeds=seeds,
                    layers=tuple(
                        LayerSurvivors(
                            path,
                            (1 - share) * rows * columns,
                            0.9 * (1 - share) * rows * columns,
                            rows * columns,
                            0.0 if path.endswith("2") else 3.2 * share,
                            1.4 * share,
                            0 if path.endswith("2") else 256,
                        )
                        for path, (rows, columns) in sizes.items()
                    ),
                    inputs=tuple(
                        InputShare(
                            index,
                            f"entry {index}" if task == "Reacher-v5" else None,
                            {
                                "actor": (1 - share) * (1 + 0.5 * np.sin(index)),
                                "critic": (1 - share) * (1 + 0.4 * np.cos(index)),
                            },
                            (1 - share) * (1 + 0.5 * np.sin(index)),
                            1 / 11,
                            1 if share > 0.95 and index == 3 else 0,
                        )
                        for index in range(11)
                    ),
                    stability=0.71 if arm.startswith("taylor") else None,
                    stability_seeds=seeds[:3] if arm.startswith("taylor") else (),
                    picture={path: generator.random(size) > share for path, size in sizes.items()},
                )
            )
    overlaps = tuple(MaskOverlap("seed", arm, arm, 10, 0.21, 0.11) for arm in arms if arm in TICKETS)
    return MaskAnalysis(tuple(found), overlaps, ())


def _cost(task: str, arm: str) -> ArmCost:
    share = sparsity_of(arm) or 0.0
    seconds = 260.0 * (1 - 0.9 * share)
    return ArmCost(task, arm, seconds, 3.1e12 * (1 - share), seconds / 260.0, len(SEEDS))
