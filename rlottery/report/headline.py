"""The verdict on a study in sentences: what is shown, what is open, and what limits it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlottery.analysis.power import MOST_MORE_SEEDS
from rlottery.analysis.verdict import Answer, ArmVerdict, PooledAnswer, PooledVerdict, Question, is_winning
from rlottery.report.answers_in_words import PAIRS, Pair, Shade, pair_sentence, shade
from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import beats_dense
from rlottery.report.differences_in_words import Wording
from rlottery.report.limits import limits, not_learned
from rlottery.report.wording import joined, p_text, plural

ALL_OPEN = "Nothing is shown yet: every answer is open."
QUESTIONS: tuple[Question, ...] = ("random", "dense")

MOST_NAMED = 4
"""How many tickets a sentence names; of more it says how many there are."""


@dataclass(frozen=True)
class Headline:
    """The verdict in sentences.

    Attributes:
        shown: what is shown, the most telling first; never empty.
        open: what is not, and what more seeds would do.
        limits: what makes it less reliable.
    """

    shown: tuple[str, ...]
    open: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All sentences."""
        return (*self.shown, *self.open, *self.limits)


@dataclass(frozen=True)
class _Judged:
    """A ticket on a task, or over all tasks if that is None."""

    arm: str
    task: str | None
    dense: Answer
    random: Answer

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


def headline(contents: Contents) -> Headline:
    """The verdict in sentences, which claim no more than the verdicts do."""
    verdicts, margin, wording = contents.verdicts, contents.rules.margin, contents.wording
    if not verdicts.tasks:
        return Headline(("Nothing is decided yet: there are no runs to judge.",), limits=verdicts.deviations)
    single = [_of_arm(arm) for task in verdicts.tasks for arm in task.arms if arm.kind == "ticket"]
    single = [ticket for ticket in single if ticket.pair != (None, None)]
    pooled = [_of_pool(arm) for arm in verdicts.pooled if max(len(arm.dense.tasks), len(arm.random.tasks)) > 1]
    pooled = [ticket for ticket in pooled if ticket.pair != (None, None)]
    beats, lost, limiting = beats_dense(contents), not_learned(verdicts.tasks), limits(contents)
    if not single and not pooled:
        first = "Nothing is decided." if lost else "Nothing is decided: no ticket has been trained with enough seeds."
        return Headline((*beats, first, *lost), (), tuple(limiting))
    telling = [ticket for ticket in single if not pooled or ticket.random.answer in ("better", "worse")]
    others = [ticket for ticket in single if ticket not in telling and ticket.is_shown]
    groups = _grouped(pooled, margin) + [
        of_task for task in verdicts.tasks for of_task in _grouped([t for t in telling if t.task == task.task], margin)
    ]
    sentences = [(of, _sentence(of, margin, wording)) for of in groups]
    sentences += [(of, _sentence(of, margin, wording, numbers=False)) for of in _grouped(others, margin)]
    shown = [sentence for of, sentence in sentences if of[0].is_shown]
    unshown = [sentence for of, sentence in sentences if not of[0].is_shown]
    shown += [*_failing(contents), *beats]
    if not any(ticket.wins for ticket in (*single, *pooled)):
        (shown if shown else unshown).append("No winning ticket is shown.")
    more = [line for question in QUESTIONS if (line := _more_seeds(single, question))]
    return Headline(tuple(shown or [ALL_OPEN]), (*unshown, *more), (*lost, *limiting))


def _of_arm(arm: ArmVerdict) -> _Judged:
    return _Judged(arm.arm, arm.task, arm.dense, arm.random)


def _of_pool(arm: PooledVerdict) -> _Judged:
    return _Judged(arm.arm, None, arm.dense, arm.random)


def _grouped(tickets: Sequence[_Judged], margin: float) -> list[list[_Judged]]:
    """Tickets with the same pair of answers together, in the order of `PAIRS`; the largest differences first."""
    groups: dict[tuple[Pair, Shade], list[_Judged]] = {}
    for ticket in tickets:
        groups.setdefault((ticket.pair, shade(ticket.random, margin)), []).append(ticket)
    order = {pair: place for place, pair in enumerate(PAIRS)}
    ordered = sorted(groups, key=lambda group: (order[group[0]], group[1] != "far", group[1] == "small"))
    return [sorted(groups[group], key=lambda ticket: -ticket.size) for group in ordered]


def _sentence(tickets: Sequence[_Judged], margin: float, wording: Wording, *, numbers: bool = True) -> str:
    """What a pair of answers says of the tickets that have it, with their numbers in the same order."""
    where, pair = _where(tickets), tickets[0].pair
    named = tickets[:MOST_NAMED]
    names = [ticket.arm if where else ticket.name for ticket in named]
    if len(tickets) > MOST_NAMED:
        names.append(f"{len(tickets) - MOST_NAMED} more")
    shown = [""] * 2
    if numbers and tickets[0].is_shown:
        shown = [_numbers(named, question, wording) for question in ("dense", "random")]
    dense, random = shown
    said = pair_sentence(
        pair,
        joined(names),
        many=len(tickets) > 1,
        dense=dense,
        random=random,
        shade=shade(tickets[0].random, margin),
    )
    return wording.once(f"{where}{said}")


def _where(tickets: Sequence[_Judged]) -> str:
    """``On reach-v3, `` or ``Over 3 tasks, ``; "" for tickets on several tasks, whose names say where."""
    tasks = {ticket.task for ticket in tickets}
    if tasks == {None}:
        answers = [
            answer for ticket in tickets for answer in (ticket.dense, ticket.random) if answer.answer is not None
        ]
        numbers = sorted({len(answer.tasks) for answer in answers if isinstance(answer, PooledAnswer)})
        return f"Over {plural(numbers[0], 'task') if len(numbers) == 1 else f'{numbers[0]} to {numbers[-1]} tasks'}, "
    return f"On {tasks.pop()}, " if len(tasks) == 1 else ""


def _numbers(tickets: Sequence[_Judged], question: Question, wording: Wording) -> str:
    """The numbers of the answers to one question, with a space before them, as they follow its words.

    Of several tickets, only those of an answer: an open one has its numbers in the tables.
    """
    answers = [(ticket.of(question), ticket.task) for ticket in tickets]
    word = answers[0][0].answer
    known = [
        (answer.comparison, task, answer.measure)
        for answer, task in answers
        if answer.comparison is not None
        and (answer.comparison.difference is not None or answer.comparison.raw_difference is not None)
    ]
    if word is None or len(known) < len(answers) or (word == "open" and len(known) > 1):
        return ""
    if word in ("superior", "better") or (question, word) == ("random", "worse"):
        return f" {wording.by(known)}"
    return f" ({wording.signed(known)})"


def _more_seeds(single: Sequence[_Judged], question: Question) -> str | None:
    """How many more seeds would answer what is open on single tasks."""
    answers = [ticket.of(question) for ticket in single]
    asked = [answer for answer in answers if answer.answer is not None]
    still_open = [answer for answer in asked if answer.answer == "open"]
    if not still_open:
        return None
    known = sorted(answer.more_seeds for answer in still_open if answer.more_seeds is not None)
    against = "dense agents" if question == "dense" else "random masks"
    are = "is" if len(still_open) == 1 else "are"
    tasks = "" if len({ticket.task for ticket in single}) == 1 else " on single tasks"
    first = f"Against {against}, {len(still_open)} of {plural(len(asked), 'answer')}{tasks} {are} open."
    if len(asked) == 1:
        first = f"Against {against}, the answer is open."
    if not known:
        return (
            f"{first} At current estimates, no number of more seeds up to {MOST_MORE_SEEDS} would give 80 % power to "
            f"answer {'it' if len(still_open) == 1 else 'them'}."
        )
    seeds = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
    more = f"At current estimates, {seeds} more {'seed' if known[-1] == 1 else 'seeds'} would give 80 % power to answer"
    if len(known) == len(still_open):
        return f"{first} {more} {'it' if len(known) == 1 else 'them'}."
    rest = "the other" if len(still_open) - len(known) == 1 else "the others"
    return f"{first} {more} {len(known)} of them; for {rest}, no number up to {MOST_MORE_SEEDS} would."


def _failing(contents: Contents) -> Iterable[str]:
    """The tickets that are shown to fail more often than dense agents or random masks."""
    for task in contents.verdicts.tasks:
        for arm in task.arms:
            if arm.failures is None:
                continue
            for question in QUESTIONS:
                other = arm.failures.dense if question == "dense" else arm.failures.control
                p = arm.failures.adjusted.get(question)
                if p is None or p > contents.rules.level or other is None:
                    continue
                ticket, against = arm.failures.ticket, "dense agents" if question == "dense" else "random masks"
                yield (
                    f"On {task.task}, {arm.arm} fails more often than {against}: {ticket.failed} of "
                    f"{plural(ticket.runs, 'run')} against {other.failed} of {other.runs} (Fisher's exact test, "
                    f"Holm-corrected {p_text(p)})."
                )


def missing_line(contents: Contents) -> str | None:
    """How many problems there are; None without any."""
    number = len(contents.missing)
    if not number:
        return None
    return f"This report is incomplete: {plural(number, 'thing')} {'is' if number == 1 else 'are'} missing or failed."
