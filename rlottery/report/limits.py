"""What limits the verdict, in sentences: what could make it wrong, and what this study may miss."""

import math
import statistics
from collections.abc import Collection, Iterator, Sequence

from pydantic import ValidationError

from rlottery.analysis.digits import Digits
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.verdict import Answer, ArmVerdict, PooledAnswer, TaskVerdict, Verdicts
from rlottery.config import Config, Contrast
from rlottery.config.recipes import ControlRecipe
from rlottery.report.answers_in_words import WORDS
from rlottery.report.contents import Contents
from rlottery.report.imported import imported_limits
from rlottery.report.starved_layers import starved_limits
from rlottery.report.wording import AGAINST, capitalised, few, grouped, joined, plural

_DIGITS = Digits(2)


def limits(contents: Contents) -> Iterator[str]:
    """The limits of the verdicts of a study; those that touch its claims come first."""
    verdicts = contents.verdicts
    tickets = [arm for task in verdicts.tasks for arm in task.arms if arm.kind == "ticket"]
    yield from imported_limits(contents)
    yield from _no_failure_seen(tickets, contents.rules.level)
    yield from _no_room(tickets)
    yield from _one_task_decides(contents)
    yield from starved_limits(contents)
    yield from _by_area(tickets)
    yield from _bimodal(verdicts, tickets)
    yield from _head_start(verdicts)
    planned, elsewhere = _with_planned_control(contents), bool(contents.elsewhere)
    yield from _without_control(tickets, planned, elsewhere=elsewhere)
    yield from _interim(verdicts)
    yield from _dropped_claims(contents)
    yield from _seeds_added(verdicts)
    yield from zero_of_the_scale(contents, limiting=True)
    yield from verdicts.deviations


def not_learned(tasks: Sequence[TaskVerdict]) -> list[str]:
    """The tasks whose dense agents did not learn, or have too few seeds, and why: one line for each reason."""
    lost = [task for task in tasks if task.state != "learned"]
    return [
        f"{few(task.task for task in of)}: {why}."
        for why, of in grouped(lost, lambda task: task.why.rstrip(".")).items()
    ]


def _no_failure_seen(tickets: Sequence[ArmVerdict], level: float) -> Iterator[str]:
    """The positive answers that a failure rate could make wrong which these runs don't exclude."""
    found = [
        (arm, answer) for arm in tickets for answer in (arm.dense, arm.random) if answer.no_failure and arm.failures
    ]

    def kind(item: tuple[ArmVerdict, Answer]) -> tuple[str, str, int, float, int | None]:
        arm, answer = item
        assert answer.no_failure is not None and arm.failures is not None
        words = WORDS[answer.question][answer.answer]
        return arm.task, words, arm.failures.ticket.runs, answer.no_failure.rate, answer.no_failure.seeds

    for (task, words, runs, rate, seeds), items in grouped(found, kind).items():
        enough = (
            f"It takes {seeds} seeds without a failure to exclude that."
            if seeds is not None
            else "No number of seeds up to 1,000 would exclude that."
        )
        yield (
            f"On {task}, the answer '{words}' for {few(arm.arm for arm, _ in items)} rests on no failure seen: "
            f"{plural(runs, 'run')} without a failure {'does' if runs == 1 else 'do'} not exclude a failure rate of "
            f"{100 * rate:.0f} % (exact {100 * (1 - level):g} % bound), and the answer would then be wrong. {enough}"
        )


def _no_room(tickets: Sequence[ArmVerdict]) -> Iterator[str]:
    """The tasks where a ticket that is as good as dense might not have been shown to be better than random."""
    undecided = [arm for arm in tickets if arm.no_room and arm.random.answer in ("open", "equivalent")]
    none = [arm for arm in undecided if arm.headroom is not None and arm.headroom <= 0]
    for task, arms in grouped(none, lambda arm: arm.task).items():
        yield (
            f"On {task}, the normalised score of random masks is not below that of dense agents (dense minus random: "
            f"{_span([arm.headroom for arm in arms if arm.headroom is not None])}). A ticket that is as good as dense "
            "agents is then no better than random masks."
        )
    if short := [arm for arm in undecided if arm not in none]:
        least = [arm.random.detectable for arm in short if arm.random.detectable is not None]
        names = {arm.arm for arm in short}
        rooms = [
            f"{_span([arm.headroom for arm in arms if arm.headroom is not None])} on {task}"
            for task, arms in grouped(short, lambda arm: arm.task).items()
        ]
        yield (
            f"The normalised score of random masks is below that of dense agents by {few(rooms)}. The smallest "
            f"difference that this study detects there with 80 % power is {_span(least)}. So even if "
            f"{few(arm.arm for arm in short)} {'is' if len(names) == 1 else 'are'} as good as dense agents, this study "
            "may miss that random masks are worse."
        )


def _one_task_decides(contents: Contents) -> Iterator[str]:
    """The answers over tasks that would be others, or have the other sign, without one task."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for arm in contents.verdicts.pooled:
        for answer in (arm.dense, arm.random):
            if answer.answer in (None, "open"):
                deciding = answer.sign_decided_by if answer.answer else ()
            else:
                deciding = tuple(dict.fromkeys((*answer.answer_decided_by, *answer.sign_decided_by)))
            for task in deciding:
                found.setdefault((task, answer.question, _without(answer, task)), []).append(
                    f"{arm.arm} ({_mean_and_median(answer)})"
                )
    for (task, question, otherwise), arms in found.items():
        yield f"Over tasks, {task} alone decides the answer against {AGAINST[question]} of {few(arms)}: {otherwise}."


def _without(answer: PooledAnswer, task: str) -> str:
    rest = answer.without[task]
    if rest.answer != answer.answer:
        return f"without it, the answer is '{WORDS[answer.question][rest.answer]}'"
    return "without it, the difference has the other sign"


def _mean_and_median(answer: PooledAnswer) -> str:
    mean = answer.comparison.difference if answer.comparison else None
    parts = [
        f"{name} {_DIGITS(value, '+')}"
        for name, value in (("mean over tasks", mean), ("median", answer.median))
        if value is not None
    ]
    return ", ".join(parts)


def _by_area(tickets: Sequence[ArmVerdict]) -> Iterator[str]:
    def tied_with(arm: ArmVerdict) -> tuple[str, ...]:
        others = (("dense agents", arm.dense), ("their random masks", arm.random))
        return tuple(name for name, answer in others if answer.answer is not None and answer.measure == "area")

    tied = [arm for arm in tickets if tied_with(arm)]
    for (task, others), arms in grouped(tied, lambda arm: (arm.task, tied_with(arm))).items():
        yield (
            f"On {task}, the scores of {few(arm.arm for arm in arms)} are tied with those of {joined(others)} at "
            "the maximum, so the area under the learning curve is compared: how early agents learn."
        )


def _bimodal(verdicts: Verdicts, tickets: Sequence[ArmVerdict]) -> Iterator[str]:
    positive = any(arm.dense.answer in ("superior", "non-inferior") for arm in tickets)
    if positive and (split := [task.task for task in verdicts.tasks if task.bimodal is not None]):
        yield (
            f"On {joined(split)}, runs of the same arm either learn or fail, so a few seeds without a failure say "
            "little about the failure rate."
        )


def _head_start(verdicts: Verdicts) -> Iterator[str]:
    if ahead := [task.task for task in verdicts.tasks if task.head_start is not None]:
        yield (
            f"On {joined(ahead)}, pruned agents start from different scores than dense agents, and the normalised "
            "score counts that as gained by training. The table of answers has a second reading, from where they start."
        )


def _with_planned_control(contents: Contents) -> Collection[str]:
    """The tickets for which the config has random masks with their layer counts."""
    if contents.elsewhere:
        return ()
    try:
        config = Config.model_validate(contents.config)
    except ValidationError:  # of another version
        return ()
    if config.arms:
        return {r.of or "" for r in config.recipes if isinstance(r, ControlRecipe) and r.control == "random"}
    every = {arm.arm for task in contents.verdicts.tasks for arm in task.arms}
    return every if "random" in config.pruning.controls else ()


def _without_control(tickets: Sequence[ArmVerdict], planned: Collection[str], *, elsewhere: bool) -> Iterator[str]:
    every = list(dict.fromkeys(arm.arm for arm in tickets if arm.control is None))
    if unfinished := [arm for arm in every if arm in planned]:
        yield (
            f"Whether the choice of weights matters isn't known yet: the random masks with the layer counts of "
            f"{few(unfinished)}, which the config asks for, are not finished."
        )
    without = [arm for arm in every if arm not in planned]
    if without and elsewhere:
        yield (
            f"Whether the choice of weights matters can't be asked: no arm is said to be random masks with the layer "
            f"counts of {few(without)}. If there is one: --control NAME={without[0]}."
        )
    elif without:
        yield (
            f"To ask whether the choice of weights matters, add random masks with the layer counts of {few(without)}: "
            f"{{control: random, of: {without[0]}}}."
        )


def _interim(verdicts: Verdicts) -> Iterator[str]:
    asked = len(verdicts.seeds)
    short = [task for task in verdicts.tasks if task.state == "learned" and len(task.seeds) < asked]
    if short:
        have = ", ".join(f"{len(task.seeds)} on {task.task}" for task in short)
        yield (
            f"This is an interim result: the study asks for {plural(asked, 'seed')}, of which dense agents have "
            f"finished {have}."
        )


def _seeds_added(verdicts: Verdicts) -> Iterator[str]:
    if verdicts.seeds_added:
        times = "once" if verdicts.seeds_added == 1 else f"{verdicts.seeds_added} times"
        yield (
            f"Seeds were added {times} after the first run. Adding seeds after looking at results makes false claims "
            "more likely than the level says."
        )


def zero_of_the_scale(contents: Contents, *, limiting: bool) -> Iterator[str]:
    """Which untrained policies the normalised score has its zero from, and how well their mean is known.

    Args:
        limiting: of the tasks whose zero limits the verdict, or of the others. It does if it is the mean of the study's
            own few dense agents before training, or if its standard error is half of the margin or more.
    """

    def sample(task: TaskScores) -> tuple[str, int]:
        """Which policies they are, and how many."""
        of_dense = "first evaluations of dense agents" if task.by_first else "untrained dense agents"
        return "fresh untrained policies" if task.fresh else of_dense, len(task.untrained_sample)

    def error(task: TaskScores) -> float:
        of, gain = task.untrained_sample, task.gain or math.inf
        return statistics.stdev(of) / math.sqrt(len(of)) / gain if len(of) > 1 else math.inf

    def limits_it(task: TaskScores) -> bool:
        return not task.fresh or error(task) >= contents.rules.margin / 2

    scaled = [task for task in contents.scores if task.gain is not None]
    for (of, size), tasks in grouped((task for task in scaled if limits_it(task) is limiting), sample).items():
        where = "" if len(tasks) == len(scaled) else f"On {joined(task.task for task in tasks)}, "
        errors = [error(task) for task in tasks if math.isfinite(error(task))]
        known = f" (standard error {_span(errors)} in normalised score)" if errors else ""
        yield capitalised(f"{where}the zero of the normalised score is the mean of {size} {of}{known}.")


def _dropped_claims(contents: Contents) -> Iterator[str]:
    """The contrasts that were registered once and that the config has no longer."""
    if not contents.claims:
        return  # nothing was registered. Arms of runs made elsewhere may have names that a contrast can't have
    given = map(Contrast.model_validate, contents.config.get("contrasts", ()))
    kept = {(str(part), part.measure) for contrast in given for part in contrast.parts()}
    if dropped := [text for text, measure in contents.claims if (text, measure) not in kept]:
        one = len(dropped) == 1
        what = "a contrast that was" if one else f"{len(dropped)} contrasts that were"
        still = "It is still tested, and counts" if one else "They are still tested, and count"
        yield f"The config no longer has {what} registered: {few(dropped)}. {still} in the correction."


def _span(values: Sequence[float]) -> str:
    low, high = _DIGITS(min(values)), _DIGITS(max(values))
    return low if low == high else f"{low} to {high}"
