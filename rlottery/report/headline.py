"""The verdict on a study in sentences: what is shown, what is open, and what limits it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.power import MOST_MORE_SEEDS
from rlottery.analysis.verdict import (
    QUESTIONS,
    Answer,
    ArmVerdict,
    MethodContrast,
    PooledAnswer,
    PooledVerdict,
    Question,
    is_winning,
)
from rlottery.report.answer import MethodClaim, method_claim
from rlottery.report.answers_in_words import PAIRS, Pair, Shade, pair_sentence, shade
from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import beats_dense, contrast_lines
from rlottery.report.differences_in_words import Placed, Wording
from rlottery.report.imported import FINE_TUNING, fine_tuning_line
from rlottery.report.limits import limits, not_learned
from rlottery.report.task_sentences import early_look
from rlottery.report.wording import AGAINST, FEW, capitalised, few, grouped, joined, p_text, plural
from rlottery.storage.paths import DENSE

NO_WINNER = "No winning ticket is shown."
ALL_OPEN = "Nothing is shown yet: every answer is open."
_RANDOM_FIRST = QUESTIONS[::-1]


@dataclass(frozen=True)
class Judged:
    """A ticket on a task, or over all tasks if that is None, with both answers.

    Attributes:
        alone: whether it has one of two answers, because the other one is over other tasks.
    """

    arm: str
    task: str | None
    dense: Answer
    random: Answer
    alone: bool = False

    @property
    def pair(self) -> Pair:
        return self.dense.answer, self.random.answer

    def of(self, question: Question) -> Answer:
        """Its answer to a question."""
        return self.dense if question == "dense" else self.random

    @property
    def name(self) -> str:
        return self.arm if self.task is None else f"{self.arm} on {self.task}"

    @property
    def is_shown(self) -> bool:
        """Whether it has an answer that is not open."""
        return any(answer not in (None, "open") for answer in self.pair)

    @property
    def wins(self) -> bool:
        return is_winning(self.dense, self.random)

    @property
    def size(self) -> float:
        """The largest of its normalised differences: who is named where there are too many."""
        compared = (answer.comparison for answer in (self.random, self.dense))
        return max((abs(c.difference) for c in compared if c and c.difference is not None), default=0.0)


@dataclass(frozen=True)
class Headline:
    """The verdict in sentences.

    Attributes:
        shown: what is shown, the most telling first; never empty. Before anything can be answered, the scores so far.
        open: what is not, and what more seeds would do.
        limits: what makes it less reliable.
        short: the first of `shown` without their numbers, in short sentences; "" where they have no such form.
        in_short: how many of `shown` it says.
        methods: what it begins with, in a study that has used both methods.
        named: the tickets that the rest of it is about; where nothing is shown, the first that are compared.
        early: whether `shown` has an early look at the scores, because too few seeds are done for any answer.
    """

    shown: tuple[str, ...]
    open: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    short: str = ""
    in_short: int = 1
    methods: MethodClaim | None = None
    named: tuple[Judged, ...] = ()
    early: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """All sentences."""
        return (*self.shown, *self.open, *self.limits)

    @property
    def lead(self) -> str:
        """The answer in short."""
        return self.short or next(iter(self.shown), "")


def headline(contents: Contents) -> Headline:
    """The verdict in sentences, which claim no more than the verdicts do."""
    said, fine_tuning = _headline(contents), fine_tuning_line(contents)
    if fine_tuning is None:
        return said
    short = f"{FINE_TUNING} {said.short}" if said.short else ""
    return replace(said, shown=(fine_tuning, *said.shown), short=short, in_short=said.in_short + 1 if short else 1)


def _headline(contents: Contents) -> Headline:
    verdicts, margin, wording = contents.verdicts, contents.rules.margin, contents.wording
    if not verdicts.tasks:
        return Headline(("Nothing is decided yet: there are no runs to judge.",), limits=verdicts.deviations)
    single = [_of_arm(arm) for task in verdicts.tasks for arm in task.arms if arm.kind == "ticket"]
    single = [ticket for ticket in single if ticket.pair != (None, None)]
    pooled = [ticket for arm in verdicts.pooled for ticket in _of_pool(arm) if ticket.pair != (None, None)]
    beats, limiting = beats_dense(contents), tuple(limits(contents))
    if not single and not pooled:
        return _undecided(contents, beats, limiting)
    telling = [ticket for ticket in single if not pooled or ticket.random.answer in ("better", "worse")]
    others = [ticket for ticket in single if ticket not in telling and ticket.is_shown]
    groups = _grouped(pooled, margin) + [
        of_task for task in verdicts.tasks for of_task in _grouped([t for t in telling if t.task == task.task], margin)
    ]
    sentences = [(of, _sentence(of, margin, wording)) for of in groups]
    sentences += [(of, _sentence(of, margin, wording, numbers=False)) for of in _grouped(others, margin)]
    shown = [sentence for of, sentence in sentences if of[0].is_shown]
    unshown = [sentence for of, sentence in sentences if not of[0].is_shown]
    leading = next((of for of, _ in sentences if of[0].is_shown), sentences[0][0])
    short = _sentence(leading, margin, wording, numbers=False, apart=True) if shown else ""
    in_short, on_methods = 1, method_claim(contents)
    wins = any(ticket.wins for ticket in (*single, *pooled))
    shown += [*beats, *_failing(contents)]
    if on_methods is not None:
        if not wins:
            shown, short = [NO_WINNER, *shown], NO_WINNER
        shown, in_short, short = [on_methods.full, *shown], 2, _continued(on_methods.short, short)
        leading = _of_both(on_methods.row, single) or leading
    elif not wins:
        (shown if shown else unshown).append(NO_WINNER)
    more = [line for question in _RANDOM_FIRST if (line := _more_seeds(single, question))]
    # Of other tasks, the sentences on their tickets have said why there is no answer.
    silent = [task for task in verdicts.tasks if task.task not in {ticket.task for ticket in single}]
    return Headline(
        tuple(shown or [ALL_OPEN]),
        (*unshown, *more),
        (*not_learned(silent), *limiting),
        short=short,
        in_short=in_short,
        methods=on_methods,
        named=tuple(ticket for one in leading[:FEW] for ticket in _both_answers(one, (*single, *pooled))),
    )


def _both_answers(ticket: Judged, every: Sequence[Judged]) -> Iterable[Judged]:
    """A ticket, and itself again with the answer that stands alone next to its own."""
    return [ticket, *(one for one in every if ticket.alone and one.arm == ticket.arm and one.alone and one != ticket)]


def _of_both(row: MethodContrast | None, tickets: Sequence[Judged]) -> list[Judged]:
    """The tickets that a comparison of the two methods is about, the gradient ticket first."""
    arms = [] if row is None else [row.gradient, row.magnitude]
    return [ticket for arm in arms for ticket in tickets if row and (ticket.arm, ticket.task) == (arm, row.task)]


def _continued(first: str, second: str) -> str:
    """Two sentences in a row; if both begin with the same task, the second doesn't name it again."""
    where = first.partition(", ")[0]
    if first.startswith("On ") and second.startswith(f"{where}, "):
        second = f"There, {second.removeprefix(f'{where}, ')}"
    return f"{first} {second}".rstrip()


def _undecided(contents: Contents, beats: Sequence[str], limiting: tuple[str, ...]) -> Headline:
    """What there is while no ticket can be judged: the scores so far, and why they are no answer."""
    tasks = contents.verdicts.tasks
    if all(task.without_dense for task in contents.scores):
        return Headline(tuple(contrast_lines(contents)), limits=limiting)
    early, lost = early_look(contents.scores, len(contents.seeds), contents.rules.least_seeds), not_learned(tasks)
    if early and not any(run.status == "done" and run.arm != DENSE for of in contents.scores for run in of.every_run):
        return Headline(tuple(early), limits=contents.verdicts.deviations, early=True)
    first = "Nothing is decided." if lost else "Nothing is decided: no ticket has been trained with enough seeds."
    compared = [_of_arm(arm) for arm in tasks[0].arms if arm.kind == "ticket"] if early else []
    named = sorted(compared, key=lambda ticket: -ticket.size)[:FEW]
    return Headline((*beats, *early, first, *lost), (), limiting, named=tuple(named), early=bool(early))


def _of_arm(arm: ArmVerdict) -> Judged:
    return Judged(arm.arm, arm.task, arm.dense, arm.random)


def _of_pool(arm: PooledVerdict) -> list[Judged]:
    """A ticket over tasks; each answer by itself if they are over different tasks, so that together they say nothing.

    Answers over a single task, which its own verdict has, are left out.
    """
    dense, random = arm.dense, arm.random
    if dense.tasks == random.tasks or not dense.tasks or not random.tasks:
        return [Judged(arm.arm, None, dense, random)] if max(len(dense.tasks), len(random.tasks)) > 1 else []
    alone = [
        Judged(arm.arm, None, dense, PooledAnswer(question="random", why=""), alone=True),
        Judged(arm.arm, None, PooledAnswer(question="dense", why=""), random, alone=True),
    ]
    return [judged for judged, of in zip(alone, (dense, random), strict=True) if len(of.tasks) > 1]


def _grouped(tickets: Sequence[Judged], margin: float) -> list[list[Judged]]:
    """Tickets of which the same is said together, in the order of `PAIRS`; the largest differences first."""

    def alike(ticket: Judged) -> tuple[Pair, Shade, tuple[str, ...], bool]:
        told = (
            answer.why if answer.answer is None else str(answer.measure) for answer in (ticket.dense, ticket.random)
        )
        return ticket.pair, shade(ticket.random, margin), tuple(told), ticket.alone

    groups = grouped(tickets, alike)
    order = {pair: place for place, pair in enumerate(PAIRS)}
    ordered = sorted(groups, key=lambda group: (order[group[0]], group[1] != "far", group[1] == "small"))
    return [sorted(groups[group], key=lambda ticket: -ticket.size) for group in ordered]


def _sentence(
    tickets: Sequence[Judged], margin: float, wording: Wording, *, numbers: bool = True, apart: bool = False
) -> str:
    """What a pair of answers says of the tickets that have it; with `apart`, in two sentences where it has two parts.

    The numbers of one ticket follow each claim. Those of several follow the sentence, by ticket, in the unit of the
    metric alone: the tables have the others.
    """
    first, where = tickets[0], _where(tickets)
    names = few(ticket.arm if where else ticket.name for ticket in tickets)
    dense = random = after = ""
    if numbers and first.is_shown and len(tickets) == 1:
        dense, random = (_numbers(first, question, wording) for question in ("dense", "random"))
    elif numbers and first.is_shown:
        after = "".join(f" {line}" for question in _RANDOM_FIRST if (line := _listed(tickets, question, wording)))
    said = pair_sentence(
        first.pair,
        names,
        many=len(tickets) > 1,
        dense=dense,
        random=random,
        no_dense=first.dense.why,
        no_random=first.random.why,
        shade=shade(first.random, margin),
        apart=apart,
        alone=first.alone,
    )
    return wording.once(f"{where}{said if where else capitalised(said)}{after}")


def _where(tickets: Sequence[Judged]) -> str:
    """``On reach-v3, `` or ``Over 3 tasks, ``; "" for tickets on several tasks, whose names say where."""
    tasks = {ticket.task for ticket in tickets}
    if tasks == {None}:
        answers = [
            answer for ticket in tickets for answer in (ticket.dense, ticket.random) if answer.answer is not None
        ]
        numbers = sorted({len(answer.tasks) for answer in answers if isinstance(answer, PooledAnswer)})
        return f"Over {plural(numbers[0], 'task') if len(numbers) == 1 else f'{numbers[0]} to {numbers[-1]} tasks'}, "
    return f"On {tasks.pop()}, " if len(tasks) == 1 else ""


def _numbers(ticket: Judged, question: Question, wording: Wording) -> str:
    """The numbers of an answer, with a space before them, as they follow its words."""
    placed, word = _placed(ticket, question), ticket.of(question).answer
    if placed is None or word is None:
        return ""
    if word in ("superior", "better") or (question, word) == ("random", "worse"):
        return f" {wording.by(placed)}"
    return f" ({wording.signed(placed)})"


def _listed(tickets: Sequence[Judged], question: Question, wording: Wording) -> str:
    """``Against random, in return: magnitude-90 +1,251 [964 to 1,538], taylor-90 +900 [600 to 1,200].``"""
    if tickets[0].of(question).answer in (None, "open"):
        return ""
    known = [(ticket.arm, placed) for ticket in tickets[:FEW] if (placed := _placed(ticket, question)) is not None]
    numbers = [(arm, *wording.first(placed)) for arm, placed in known]
    if not numbers:
        return ""
    unit = numbers[0][2]
    return f"Against {question}, in {unit}: {', '.join(f'{arm} {number}' for arm, number, _ in numbers)}."


def _placed(ticket: Judged, question: Question) -> Placed | None:
    """What was compared for a question; None without any number."""
    answer = ticket.of(question)
    of = answer.comparison
    if of is None or (of.difference is None and of.raw_difference is None):
        return None
    return of, ticket.task, answer.measure


def _more_seeds(single: Sequence[Judged], question: Question) -> str | None:
    """How many more seeds would answer what is open on single tasks."""
    answers = [ticket.of(question) for ticket in single]
    asked = [answer for answer in answers if answer.answer is not None]
    still_open = [answer for answer in asked if answer.answer == "open"]
    if not still_open:
        return None
    known = sorted(answer.more_seeds for answer in still_open if answer.more_seeds is not None)
    tasks = "" if len({ticket.task for ticket in single}) == 1 else " on single tasks"
    are = "is" if len(still_open) == 1 else "are"
    first = f"Against {AGAINST[question]}, {len(still_open)} of {plural(len(asked), 'answer')}{tasks} {are} open."
    if len(asked) == 1:
        first = f"Against {AGAINST[question]}, the answer is open."
    if not known:
        return f"{first} At current estimates, even {MOST_MORE_SEEDS} more seeds would not give 80 % power."
    seeds = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
    more = f"At current estimates, {seeds} more {'seed' if known[-1] == 1 else 'seeds'} would give 80 % power to answer"
    if len(known) == len(still_open):
        return f"{first} {more} {'it' if len(known) == 1 else 'them'}."
    rest = "the other" if len(still_open) - len(known) == 1 else "the others"
    return f"{first} {more} {len(known)} of them; for {rest}, even {MOST_MORE_SEEDS} would not."


def _failing(contents: Contents) -> Iterable[str]:
    """The tickets that are shown to fail more often than dense agents or random masks, one sentence for each task."""
    for task in contents.verdicts.tasks:
        failing, others, found = [], dict[str, list[str]](), list[float]()
        for arm in task.arms:
            if arm.failures is None:
                continue
            beaten = {q: p for q, p in arm.failures.adjusted.items() if p <= contents.rules.level}
            for question, p in beaten.items():
                other = arm.failures.dense if question == "dense" else arm.failures.control
                if other is not None:
                    others.setdefault(AGAINST[question], []).append(f"{other.failed} of {other.runs}")
                    found.append(p)
            if beaten:
                failing.append(f"{arm.arm} ({arm.failures.ticket.failed} of {plural(arm.failures.ticket.runs, 'run')})")
        if failing:
            than = joined(f"{name} ({joined(dict.fromkeys(counts))})" for name, counts in others.items())
            at_most = "" if len(found) == 1 else " at most"
            yield (
                f"On {task.task}, {few(failing)} {'fails' if len(failing) == 1 else 'fail'} more often than {than} "
                f"(Fisher's exact test, Holm-corrected {p_text(max(found))}{at_most})."
            )


def missing_line(contents: Contents) -> str | None:
    """How many problems there are; None without any."""
    number = len(contents.missing)
    if not number:
        return None
    return f"This report is incomplete: {plural(number, 'thing')} {'is' if number == 1 else 'are'} missing or failed."
