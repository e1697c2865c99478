"""A comparison in words and numbers as people read them. Claims no more than the seeds can carry."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rlottery.analysis.comparison import ArmResult, Comparison, TaskComparison
from rlottery.analysis.kinds import GRADIENT_CRITERIA
from rlottery.analysis.mask_analysis import MaskPages
from rlottery.analysis.runs import Metric

METRIC_NAMES: dict[Metric, str] = {"success": "success rate", "return": "return"}
METRIC_TITLES: dict[Metric, str] = {"success": "Success", "return": "Return"}
OPTION = "--pruning-method"
"""What a line of `pairs_wanted` begins with that is to be typed."""

MOST_TICKETS_IN_A_SENTENCE = 4


def task_lines(comparison: Comparison) -> list[str]:
    """How the tickets did, in words: a line for each task."""
    return [f"{task.task}: {_task_result(task, len(comparison.seeds))}" for task in comparison.tasks]


def pairs_wanted(comparison: Comparison) -> list[str]:
    """How to get tickets whose methods can be compared."""
    if comparison.lists_arms:
        return ["To see which is better, list a magnitude and a taylor ticket of the same sparsity among the arms."]
    wanted = "To see which is better, train tickets of both methods at the same sparsity: the same command with"
    return [wanted, _option_for_pairs(comparison)]


def overlap_lines(task: TaskComparison, masks: MaskPages) -> list[str]:
    """How much the masks of magnitude and gradient share, a line a pair."""
    criteria = {arm.name: arm.criterion for arm in task.arms}
    lines = []
    for found in masks.likeness:
        magnitude, gradient = sorted((found.one, found.other), key=lambda arm: criteria.get(arm) != "magnitude")
        pair = criteria.get(magnitude), criteria.get(gradient)
        if (
            found.kind == "criterion"
            and found.task == task.task
            and pair[0] == "magnitude"
            and pair[1] in GRADIENT_CRITERIA
        ):
            lines.append(
                f"Masks of {magnitude} and {gradient}: overlap {found.jaccard:.2f} "
                f"(Jaccard, mean of {count(found.pairs, 'seed')}); chance would give {found.chance:.2f}."
            )
    return lines


def share_lines(task: TaskComparison) -> list[str]:
    """Why tickets that are done have no share of dense, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for arm in task.tickets:
        if arm.done and arm.no_share:
            reasons.setdefault(arm.no_share, []).append(arm.name)
    return [
        f"{names[0]} has no share of dense: {why}."
        if len(names) == 1
        else f"{count(len(names), 'arm')} have no share of dense: {why}."
        for why, names in reasons.items()
    ]


def problem_lines(task: TaskComparison) -> list[str]:
    """Failed and unreadable runs with their errors, and what else is odd, a line each."""
    failures = [(arm.name, result) for arm in task.arms for result in arm.failures]
    lines = [
        f"{result.status.capitalize()}: {name}, seed {result.seed}: {one_line(result.error or '')}"
        for name, result in failures
    ]
    return lines + [one_line(note) for note in task.notes]


def score_text(task: TaskComparison, value: float | None, *, signed: bool = False) -> str:
    """A score of this task: a success rate with two decimals, a return with what its size deserves."""
    if value is None:
        return "-"
    digits = digits_of(task.metric, (score for arm in task.arms for score in arm.scores.values()))
    return f"{_no_negative_zero(value, digits):{'+' if signed else ''}.{digits}f}"


def seed_scores(task: TaskComparison, arm: ArmResult) -> list[str]:
    """The score of every seed that the config asks for, or what became of it."""
    return [
        score_text(task, result.score) if result.status == "done" else _STATUS_WORDS[result.status]
        for result in arm.seeds
    ]


def share_text(arm: ArmResult) -> str:
    """The share of dense as a number, or a dash."""
    return "-" if arm.share is None else f"{_no_negative_zero(arm.share, 2):.2f}"


def sparsity_text(sparsity: Mapping[str, float] | None) -> str:
    """``80 %``, or ``90 / 50 %`` for actor and critic."""
    if sparsity is None:
        return "-"
    shares = [_percent(share) for share in sparsity.values()]
    return f"{shares[0] if len(set(shares)) == 1 else ' / '.join(shares)} %"


def count(number: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def digits_of(metric: Metric, scores: Iterable[float]) -> int:
    """Decimals that these scores are told with: a success rate two, returns as their size deserves."""
    if metric == "success":
        return 2
    largest = max(map(abs, scores), default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def one_line(text: str) -> str:
    """Text from a file on one line, without control characters."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


_STATUS_WORDS = {
    "failed": "failed",
    "diverged": "diverged",
    "unreadable": "unreadable",
    "missing": "not done",
    "done": "-",
}


def _task_result(task: TaskComparison, asked: int) -> str:
    sentences = [_main_sentence(task)]
    done = len(task.dense.scores) if task.dense else 0
    if 0 < len(task.dense_not_learned) < done:
        of = "of seed" if len(task.dense_not_learned) == 1 else "of seeds"
        sentences.append(f"The dense agent {of} {listed(map(str, task.dense_not_learned))} did not learn.")
    lost = [result.status for arm in task.arms for result in arm.failures]
    if lost:
        what = " or can't be read" if "unreadable" in lost else ""
        sentences.append(f"{len(lost)} of {count(asked * len(task.arms), 'run')} failed{what}.")
    return " ".join(sentences)


def _main_sentence(task: TaskComparison) -> str:
    dense = task.dense
    if dense is None or dense.mean is None:
        return "no dense agent is done yet." if task.arms else "no run is done yet."
    metric, over = METRIC_NAMES[task.metric], f"over {count(dense.done, 'seed')}"
    if len(task.dense_not_learned) == dense.done:
        return (
            f"the dense agents did not learn ({metric} {score_text(task, task.untrained)} untrained, "
            f"{score_text(task, dense.mean)} trained, {over}), so their tickets can't be judged."
        )
    shared = [arm for arm in task.tickets if arm.share is not None]
    if not shared:
        why = next((arm.no_share for arm in task.tickets if arm.done), "no ticket is done yet")
        return f"the dense agents reached a {metric} of {score_text(task, dense.mean)} {over}; {why}."
    numbers = {len(arm.share_seeds) for arm in shared}
    tail = f"of {_what_dense_has(task)}" + (f" over {count(max(numbers), 'seed')}" if len(numbers) == 1 else "")
    if len(shared) > MOST_TICKETS_IN_A_SENTENCE:
        return f"{_range_of_shares(shared)} {tail}."
    return f"{_each_share(shared, with_seeds=len(numbers) > 1)} {tail}."


def _each_share(arms: Sequence[ArmResult], *, with_seeds: bool) -> str:
    """``at 80 % sparsity the magnitude tickets reached 0.97 and the taylor tickets 1.02``"""
    parts, verb = [], " reached"
    for sparsity, group in groupby(arms, key=lambda arm: sparsity_text(arm.sparsity)):
        tickets = []
        for arm in group:
            seeds = f" ({count(len(arm.share_seeds), 'seed')})" if with_seeds else ""
            tickets.append(f"the {_kind(arm, arms)} tickets{verb} {share_text(arm)}{seeds}")
            verb = ""
        parts.append(f"at {sparsity} sparsity {listed(tickets)}")
    return ", ".join(parts)


def _range_of_shares(arms: Sequence[ArmResult]) -> str:
    ordered = sorted(arms, key=lambda arm: arm.share or 0.0)
    worst, best = ordered[0], ordered[-1]
    return f"{len(arms)} arms reached from {share_text(worst)} ({worst.name}) to {share_text(best)} ({best.name})"


def _kind(arm: ArmResult, among: Iterable[ArmResult]) -> str:
    """The criterion, as long as that and the sparsity say which arm it is."""
    alike = [other for other in among if (other.criterion, other.sparsity) == (arm.criterion, arm.sparsity)]
    return arm.criterion if arm.criterion and len(alike) == 1 else arm.name


def _what_dense_has(task: TaskComparison) -> str:
    word = METRIC_TITLES[task.metric].lower()
    if task.untrained == 0:
        return f"the dense agents' {word}"
    return f"what the dense agents gained in {word} beyond the untrained policy"


def _option_for_pairs(comparison: Comparison) -> str:
    methods = {arm.method for task in comparison.tasks for arm in task.tickets}
    lacking = "magnitude" if "gradient" in methods and "magnitude" not in methods else "gradient"
    return f"{OPTION} {lacking}"


def _no_negative_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0


def _percent(share: float) -> str:
    digits = 1 if share < 0.99 else 2
    return f"{100 * share:.{digits}f}".rstrip("0").rstrip(".")
