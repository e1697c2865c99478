"""The tables of a report: what is decided, scored and spent."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from rlottery.analysis.further_seeds import MOST_FURTHER
from rlottery.analysis.runs import Metric
from rlottery.analysis.scores import AcrossTasks, ArmScores, TaskScores
from rlottery.analysis.verdict import ArmVerdict, Claim, Contrast, PooledVerdict
from rlottery.config import file_name
from rlottery.report.contents import Contents
from rlottery.report.families import Look
from rlottery.report.panels import clusters, nominal, per_cent
from rlottery.report.sentences import BOOTSTRAP, interval_words, level_of, sparsity_words
from rlottery.report.tables import (
    MINUS,
    NOTHING,
    Cell,
    Column,
    Row,
    Table,
    bounded_cell,
    estimate_cell,
    number_cell,
    number_text,
    p_cell,
    text_cell,
)
from rlottery.report.words import METRIC_NAMES, count, digits_of, listed


def verdict_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """A row for each ticket and task; controls are compared, and never judged."""
    level = level_of(contents)
    nominal_of = _nominal_sparsities(looks)
    rows = []
    for task in contents.verdicts.tasks:
        for arm in task.arms:
            look = looks.get(arm.arm)
            said = arm.decision or "not judged"
            dense, control = arm.against_dense, arm.against_control
            claim = _claim(arm)
            p, holm = (arm.p.get(claim), arm.adjusted.get(claim)) if claim else (None, None)
            cells = (
                text_cell("arm", arm.arm),
                text_cell("task", task.task),
                text_cell("kind", look.family if look else ""),
                sparsity_cell(look),
                Cell(said, {"decision": arm.decision}, mark=said),
                text_cell("measure", arm.measure),
                _contrast("share_of_dense", dense, 1.0),
                _contrast("over_control", control, 0.0),
                text_cell("claim", claim or ""),
                p_cell("p", p),
                p_cell("p_holm", holm),
                p_cell("p_sign_flip", flipped(claim, dense, control) if claim else None),
                _seeds(dense, control),
                _further(arm),
                text_cell("why", arm.why),
            )
            tags = {
                "task": task.task,
                "kind": look.family if look else "",
                "sparsity": nominal_of.get(arm.arm, ""),
                "decision": said,
            }
            rows.append(Row(cells, tags))
    caption = (
        "Verdicts on each task. Measure: what is compared, the score or, where scores are tied at the ceiling, the "
        f"area under the curve. Share of dense: (arm {MINUS} untrained) / (dense {MINUS} untrained) of this measure, "
        f"mean over n seeds that both have, with its {interval_words(level)}; over random: the difference to the "
        "random control with the same counts in every layer, in the same unit. p, its Holm correction over arms and "
        "tasks, and the sign-flip p are of the claim that is decided, or else of the one nearest to it. n: seeds that "
        "have both arm and dense; after a slash those that have both arm and random control, where they are not as "
        "many. More seeds: that would likely (80 %) decide it."
    )
    titles = (
        Column("Arm"),
        Column("Task"),
        Column("Kind"),
        Column("Sparsity", True),
        Column("Decision"),
        Column("Measure"),
        Column("Share of dense", True),
        Column("Over random", True),
        Column("Claim, or the nearest"),
        Column("p", True),
        Column("Holm p", True),
        Column("Sign-flip p", True),
        Column("n", True),
        Column("More seeds", True),
        Column("Why"),
    )
    return Table("verdicts", caption, titles, tuple(rows))


def pooled_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """A row for each ticket over all tasks that dense agents learned."""
    level = level_of(contents)
    rows = []
    for arm in contents.verdicts.pooled:
        look = looks.get(arm.arm)
        said = arm.decision or "not judged"
        claim = _nearest(arm.decision, arm.adjusted)
        p, holm = (arm.p.get(claim), arm.adjusted.get(claim)) if claim else (None, None)
        cells = (
            text_cell("arm", arm.arm),
            sparsity_cell(look),
            Cell(said, {"decision": arm.decision}, mark=said),
            _measures(arm),
            bounded_cell("share_of_dense", arm.share, arm.low, arm.high, 1.0),
            _over_control(arm),
            text_cell("claim", claim or ""),
            p_cell("p", p),
            p_cell("p_holm", holm),
            number_cell("tasks", len(arm.tasks), "d"),
            text_cell("why", _pooled_why(arm)),
        )
        rows.append(Row(cells))
    caption = (
        f"Verdicts over tasks: means over tasks of the shares of dense, with their {interval_words(level)}. "
        "Measure: what the shares are of; where it names both, the mean is over shares of scores on some tasks and of "
        "areas under the curve on the others, where scores are tied. p and its Holm correction over arms are of the "
        "claim that is decided, or else of the one nearest to it."
    )
    titles = (
        Column("Arm"),
        Column("Sparsity", True),
        Column("Decision"),
        Column("Measure"),
        Column("Share of dense", True),
        Column("Over random", True),
        Column("Claim, or the nearest"),
        Column("p", True),
        Column("Holm p", True),
        Column("Tasks", True),
        Column("Why"),
    )
    return Table("verdicts_over_tasks", caption, titles, tuple(rows))


def glance_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """Tickets by tasks, with the decision in each cell."""
    tasks = contents.verdicts.tasks
    decided = {(task.task, arm.arm): arm.decision for task in tasks for arm in task.arms}
    pooled = {arm.arm: arm.decision for arm in contents.verdicts.pooled}
    judged = {arm for (_, arm), decision in decided.items() if decision} | {arm for arm, d in pooled.items() if d}
    names = [arm for arm in looks if arm in judged]
    names += sorted(judged - set(names))
    rows = []
    for arm in names:
        cells = [text_cell("arm", arm), sparsity_cell(looks.get(arm))]
        of_tasks = [(task.task, decided.get((task.task, arm))) for task in tasks]
        every = [*([("all tasks", pooled.get(arm))] if pooled else []), *of_tasks]
        cells += [Cell(d or NOTHING, {where: d}, mark=d or "") for where, d in every]
        rows.append(Row(tuple(cells)))
    columns = [Column("Ticket"), Column("Sparsity", True), *([Column("All tasks")] if pooled else [])]
    columns += [Column(task.task) for task in tasks]
    return Table("decisions", "What is decided of each kind of ticket.", tuple(columns), tuple(rows))


def score_table(contents: Contents, scores: TaskScores, looks: Mapping[str, Look]) -> Table:
    """Every arm of one task: mean, median and interquartile mean, area, steps to the threshold, each seed's score."""
    digits = digits_of(scores.metric, (score for arm in scores.arms for score in arm.scores.values()))
    seeds = sorted({seed for arm in scores.arms for seed in arm.scores} | set(contents.comparison.seeds))
    rows = []
    for arm in scores.arms:
        area = statistics.fmean(arm.areas.values()) if arm.areas else None
        before = statistics.fmean(arm.before.values()) if arm.before else None
        cells = [
            text_cell("arm", arm.arm),
            sparsity_cell(looks.get(arm.arm)),
            number_cell("before", before, f",.{digits}f"),
            estimate_cell("mean", arm.mean, digits),
            estimate_cell("median", arm.median, digits),
            estimate_cell("iqm", arm.iqm, digits),
            number_cell("area", area, f",.{digits}f"),
            _steps(arm),
            number_cell("n", len(arm.scores), "d"),
        ]
        cells += [number_cell(f"seed_{seed}", arm.scores.get(seed), f",.{digits}f") for seed in seeds]
        rows.append(Row((Cell(cells[0].text, {"task": scores.task, **cells[0].values}), *cells[1:])))
    unit: dict[Metric, str] = {"success": "success rate, from 0 to 1", "return": "return of an episode"}
    untrained = "" if scores.untrained is None else f" Untrained: {number_text(scores.untrained, digits)}."
    caption = (
        f"{scores.task}: {unit[scores.metric]}, mean of the last {contents.comparison.score_evaluations} evaluations; "
        f"in brackets the {BOOTSTRAP} over n seeds. Before: mean before training. Area: mean "
        f"{METRIC_NAMES[scores.metric]} over all of training.{untrained}{_threshold_words(scores, digits)}"
    )
    titles = [
        Column("Arm"),
        Column("Sparsity", True),
        Column("Before", True),
        Column("Mean", True),
        Column("Median", True),
        Column("IQM", True),
        Column("Area", True),
        Column("Steps to threshold", True),
        Column("n", True),
        *(Column(f"Seed {seed}", True) for seed in seeds),
    ]
    return Table(f"scores_{file_name(scores.task)}", caption, tuple(titles), tuple(rows))


def across_table(across: Sequence[AcrossTasks], looks: Mapping[str, Look]) -> Table:
    """Every arm over the tasks that dense agents learned."""
    rows = [
        Row(
            (
                text_cell("arm", arm.arm),
                sparsity_cell(looks.get(arm.arm)),
                estimate_cell("iqm", arm.iqm, 2),
                estimate_cell("mean", arm.mean, 2),
                estimate_cell("median", arm.median, 2),
                estimate_cell("over_dense", arm.over_dense, 2),
                estimate_cell("over_control", arm.over_control, 2),
                number_cell("tasks", len(arm.tasks), "d"),
                number_cell("runs", arm.runs, "d"),
            )
        )
        for arm in across
    ]
    caption = (
        "Over tasks, in shares of dense: IQM over runs, mean and median over tasks, and the probability that a run "
        f"scores above a dense agent and above its random control (ties count half); in brackets the {BOOTSTRAP}."
    )
    titles = (
        Column("Arm"),
        Column("Sparsity", True),
        Column("IQM", True),
        Column("Mean", True),
        Column("Median", True),
        Column("P(above dense)", True),
        Column("P(above random)", True),
        Column("Tasks", True),
        Column("Runs", True),
    )
    return Table("across_tasks", caption, titles, tuple(rows))


def method_table(contents: Contents) -> Table:
    """Gradient minus magnitude at each sparsity, by task and over all."""
    rows = [
        Row(
            (
                Cell(contrast.task or "all tasks", {"task": contrast.task or "all tasks"}),
                text_cell("gradient", contrast.gradient),
                text_cell("magnitude", contrast.magnitude),
                Cell(sparsity_words(contrast.sparsity), {"sparsity": contrast.sparsity}),
                text_cell("measure", contrast.measure),
                bounded_cell("difference", contrast.share, contrast.low, contrast.high, 0.0, signed=True),
                p_cell("p", contrast.p),
                p_cell("p_holm", contrast.adjusted),
                number_cell("n", contrast.n, "d"),
            )
        )
        for contrast in contents.verdicts.methods
    ]
    caption = (
        f"Gradient {MINUS} magnitude, as a share of what dense agents gained, with its "
        f"{interval_words(level_of(contents))}; two-sided p, and its Holm correction over the sparsities of a task."
    )
    titles = (
        Column("Task"),
        Column("Gradient"),
        Column("Magnitude"),
        Column("Sparsity", True),
        Column("Measure"),
        Column("Difference", True),
        Column("p", True),
        Column("Holm p", True),
        Column("n", True),
    )
    return Table("gradient_against_magnitude", caption, titles, tuple(rows))


def cost_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """Wall-clock and floating-point operations of every arm and task."""
    rows = [
        Row(
            (
                text_cell("arm", cost.arm),
                text_cell("task", cost.task),
                sparsity_cell(looks.get(cost.arm)),
                number_cell("seconds", cost.seconds, ",.0f"),
                number_cell("of_dense", cost.of_dense, ".2f"),
                Cell(NOTHING if cost.flops is None else _flops(cost.flops), {"flops": cost.flops}),
                number_cell("runs", cost.runs, "d"),
            )
        )
        for cost in contents.costs
    ]
    caption = (
        "Cost of a run: seconds of wall-clock, mean over the runs that are done; the same over the dense agents' "
        "(smaller is cheaper); and floating-point operations of all its updates, counted at its sparsity at the end. "
        "Both count an iterative ticket's earlier rounds. Seconds don't count the making of masks."
    )
    titles = (
        Column("Arm"),
        Column("Task"),
        Column("Sparsity", True),
        Column("Seconds", True),
        Column("Of dense", True),
        Column("FLOP", True),
        Column("Runs", True),
    )
    return Table("cost", caption, titles, tuple(rows))


def flipped(claim: Claim, dense: Contrast | None, control: Contrast | None) -> float | None:
    """The sign-flip p-value of a claim. One that has two parts is shown when both are: the larger p counts."""
    parts: dict[Claim, list[tuple[Contrast | None, str]]] = {
        "winning": [(dense, "not_worse"), (control, "above")],
        "sparse, not special": [(dense, "not_worse"), (control, "equal")],
        "losing": [(dense, "worse")],
    }
    found = [None if contrast is None else contrast.flipped.get(name) for contrast, name in parts[claim]]
    known = [p for p in found if p is not None]
    return max(known) if len(known) == len(found) else None


def _claim(arm: ArmVerdict) -> Claim | None:
    return _nearest(arm.decision, arm.adjusted)


def _nearest(decision: str | None, adjusted: Mapping[Claim, float]) -> Claim | None:
    """The claim that is decided; else the one with the smallest p."""
    for claim in adjusted:
        if claim == decision:
            return claim
    return min(adjusted, key=lambda claim: adjusted[claim], default=None)


def _over_control(arm: PooledVerdict) -> Cell:
    share, low, high = arm.over_control or (None, None, None)
    return bounded_cell("over_control", share, low, high, 0.0)


def _pooled_why(arm: PooledVerdict) -> str:
    return f"{arm.why}; without {listed(arm.left_out)}" if arm.left_out else arm.why


def _seeds(dense: Contrast | None, control: Contrast | None) -> Cell:
    """How many seeds the difference to dense rests on; that to the control too, where it is another number."""
    n = len(dense.differences) if dense else None
    over = len(control.differences) if control else None
    text = NOTHING if n is None else str(n)
    return Cell(text if over in (n, None) else f"{text} / {over}", {"n": n, "n_over_control": over})


def _measures(arm: PooledVerdict) -> Cell:
    tasks = Counter(arm.measures[task] for task in arm.tasks if task in arm.measures)
    by_score, by_area = tasks["score"], tasks["area"]
    values = {"measure": " and ".join(sorted(tasks, reverse=True)) or None}
    text = f"score and area ({by_score} and {count(by_area, 'task')})" if by_score and by_area else values["measure"]
    return Cell(text or NOTHING, {**values, "tasks_by_score": by_score, "tasks_by_area": by_area})


def _reached(arm: ArmScores) -> list[int]:
    return [steps for steps in arm.steps.values() if steps is not None]


def _steps(arm: ArmScores) -> Cell:
    """Median of the runs that reached the threshold, and how many of how many they are."""
    reached = _reached(arm)
    median = statistics.median(reached) if reached else None
    text = NOTHING if median is None else f"{median:,.0f}"
    values = {"steps_to_threshold": median, "reached_threshold": len(reached) if arm.steps else None}
    return Cell(f"{text} ({len(reached)}/{len(arm.steps)})" if arm.steps else NOTHING, values)


def _threshold_words(scores: TaskScores, digits: int) -> str:
    if scores.threshold is None:
        return ""
    reached, runs = sum(len(_reached(arm)) for arm in scores.arms), sum(len(arm.steps) for arm in scores.arms)
    return (
        f" Steps to threshold: to the first evaluation of {number_text(scores.threshold, digits)} or more, median; "
        f"{reached} of {count(runs, 'run')} reached it, and those that never did are left out (in brackets: how many "
        "of the arm's runs reached it)."
    )


def _further(arm: ArmVerdict) -> Cell:
    """Sorted by how many are needed at the least: over 100 comes after every number that is known."""
    if arm.decision != "undecided":
        return Cell(NOTHING, {"further_seeds_at_least": None, "further_seeds": None})
    if arm.further_seeds is None:
        return Cell(f"over {MOST_FURTHER}", {"further_seeds_at_least": MOST_FURTHER + 1, "further_seeds": None})
    return Cell(
        str(arm.further_seeds), {"further_seeds_at_least": arm.further_seeds, "further_seeds": arm.further_seeds}
    )


def _flops(flops: float) -> str:
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if flops >= size:
            return f"{flops / size:.3g} {unit}"
    return f"{flops:.3g}"


def _nominal_sparsities(looks: Mapping[str, Look]) -> dict[str, str]:
    """Arm -> its sparsity as a filter names it: arms that miss the same one by little stand together."""
    known = {arm: look.sparsity for arm, look in looks.items() if look.sparsity is not None}
    near = clusters(known.values())
    return {arm: per_cent(nominal(next(of for of in near if value in of))) for arm, value in known.items()}


def sparsity_cell(look: Look | None) -> Cell:
    """An arm's sparsity; nothing where it is not known."""
    sparsity = look.sparsity if look else None
    return Cell(NOTHING if sparsity is None else sparsity_words(sparsity), {"sparsity": sparsity})


def _contrast(name: str, contrast: Contrast | None, at: float) -> Cell:
    if contrast is None:
        return bounded_cell(name, None, None, None, at)
    return bounded_cell(name, contrast.share, contrast.low, contrast.high, at, signed=at == 0)
