"""Contrasts in sentences: what each shows, and when it was registered."""

from collections.abc import Sequence

from rlottery.analysis.digits import MINUS
from rlottery.analysis.verdict import ContrastResult
from rlottery.report.contents import Contents
from rlottery.report.wording import few, grouped, holm_text, plural
from rlottery.storage.paths import DENSE

_MOST_PLACES = 3
"""On how many tasks an open contrast has its numbers in a sentence."""


def claim_of(row: ContrastResult, *, opposite: bool = False) -> str:
    """What a contrast says if it is shown, or if its opposite is: ``rigl-90 is better than set-90``."""
    plus, minus = (row.minus, row.plus) if opposite else (row.plus, row.minus)
    if len(plus) == 1:
        return f"{plus[0]} is better than {minus[0]}"
    # Of a - b > c - d, plus is (a, d) and minus (c, b).
    return f"{plus[0]} {MINUS} {minus[1]} is larger than {minus[0]} {MINUS} {plus[1]}"


def outcome(row: ContrastResult) -> str:
    """What a contrast shows, for tables: ``shown: rigl-90 is better than set-90``, ``open``."""
    match row.outcome:
        case "plus":
            return f"shown: {claim_of(row)}"
        case "minus":
            opposite = "shown" if row.two_sided else "the opposite is shown"
            return f"{opposite}: {claim_of(row, opposite=True)}"
        case "open" if not row.two_sided and _is_below(row):
            return "open: its whole interval is below 0"
        case "open":
            return "open"
    return f"not tested: {row.why}" if row.why else "not tested"


def registered(row: ContrastResult, contents: Contents) -> str:
    """When a contrast was registered: ``registered before the first run``."""
    if row.origin != "registered":
        return "not registered; a default comparison"
    if contents.elsewhere:
        return "whether it was chosen before the runs isn't known"
    ended = contents.claims.get((row.text, row.measure))
    if ended is None:
        return "registered; not recorded when"
    return "registered before the first run" if ended == 0 else f"registered after {plural(ended, 'run')} had ended"


def contrast_lines(contents: Contents) -> list[str]:
    """A line for each contrast that shows something; then those that are open, and those that can't be tested yet.

    Default comparisons that show nothing are counted, and the others are named with their numbers.
    """

    def when_registered(of: Sequence[ContrastResult]) -> str:
        return registered(of[0], contents)

    every = by_contrast(contents.verdicts.contrasts)
    lines = [contrast_line(of, contents) for of in every if _shows(of)]
    of_config = [of for of in every if of[0].origin == "registered" and not _shows(of)]
    tested = [of for of in of_config if any(row.outcome == "open" for row in of)]
    for when, group in grouped(tested, when_registered).items():
        lines.append(contents.wording.once(f"Open ({when}): {'; '.join(_open_part(of, contents) for of in group)}."))
    for when, group in grouped((of for of in of_config if of not in tested), when_registered).items():
        named = few(f"{of[0].text} ({of[0].why})" if of[0].why else of[0].text for of in group)
        lines.append(f"Not tested yet ({when}): {named}.")
    if rest := sum(of[0].origin != "registered" and not _shows(of) for of in every):
        what = f"{plural(rest, 'default comparison')} show{'s' if rest == 1 else ''} nothing yet"
        lines.append(f"{what} (tables/contrasts.csv has all, with their numbers).")
    return lines


def contrast_line(of: Sequence[ContrastResult], contents: Contents) -> str:
    """What a contrast that shows something shows: over tasks, on which tasks, and where it is open.

    ``Over 3 tasks, a is better than b by 0.20 in normalised score, Holm-corrected p = 0.030; open on Reacher-v5: +0.05
    [90 % interval -0.10 to 0.20], Holm-corrected p = 0.40 (registered before the first run).``
    """
    shown = [row for row in reversed(of) if row.outcome in ("plus", "minus")]  # the pool, which is last, comes first
    parts, said = [], ""
    for row in sorted(shown, key=lambda row: row.task is not None):
        claim = claim_of(row, opposite=row.outcome == "minus")
        opposite = " (the opposite of the claim)" if row.outcome == "minus" and not row.two_sided else ""
        again = "" if claim == said else f"{claim} "
        by = contents.wording.by((row, row.task, row.measure))
        parts.append(f"{_place(row)}{',' if again else ''} {again}{by}{opposite}{holm_text(row.adjusted)}")
        said = claim
    parts += [_open(row, contents) for row in of if row.task is None and row.outcome == "open"]
    are_open = [row for row in of if row.task is not None and row.outcome == "open"]
    parts += [_open(row, contents) for row in are_open[:_MOST_PLACES]]
    if more := are_open[_MOST_PLACES:]:
        parts.append(f"open on {few(row.task or '' for row in more)}")
    if untested := [row.task or "" for row in of if row.task is not None and row.outcome is None]:
        parts.append(f"not tested on {few(untested)}")
    line = f"{'; '.join(parts)} ({registered(of[0], contents)})."
    return contents.wording.once(line[:1].upper() + line[1:])


def _open_part(of: Sequence[ContrastResult], contents: Contents) -> str:
    """A contrast that is open, with the numbers over tasks, or else those of the tasks on which it is tested."""
    tested = [row for row in of if row.outcome == "open"]
    rows = [row for row in tested if row.task is None] or tested[:_MOST_PLACES]
    rest = (
        [f"open on {plural(len(tested) - len(rows), 'more task')}"] if rows[0].task and len(tested) > len(rows) else []
    )
    untested = [row.task or "" for row in of if row.outcome is None]
    rest += [f"not tested on {few(untested)}"] if untested else []
    return f"{of[0].text} ({'; '.join([*(_open(row, contents, first='') for row in rows), *rest])})"


def _open(row: ContrastResult, contents: Contents, first: str = "open ") -> str:
    """``open over 3 tasks: +0.05 in normalised score, Holm-corrected p = 0.20``."""
    if row.difference is None and row.raw_difference is None:
        return f"{first}{_place(row)}"
    below = ", the whole interval is below 0" if not row.two_sided and _is_below(row) else ""
    numbers = contents.wording.signed((row, row.task, row.measure))
    return f"{first}{_place(row)}{':' if first else ''} {numbers}{below}{holm_text(row.adjusted)}"


def _place(row: ContrastResult) -> str:
    return f"on {row.task}" if row.task is not None else f"over {plural(len(row.tasks), 'task')}"


def _shows(of: Sequence[ContrastResult]) -> bool:
    return any(row.outcome in ("plus", "minus") for row in of)


def by_contrast(rows: Sequence[ContrastResult]) -> list[list[ContrastResult]]:
    """The rows of each contrast together: its tasks, then its pool."""
    return list(grouped(rows, lambda row: (row.origin, row.text, row.measure)).values())


def beats_dense(contents: Contents) -> list[str]:
    """The random masks, and the other arms that are no tickets, that contrasts show to be better than dense agents."""
    arms = [arm for task in contents.verdicts.tasks for arm in task.arms]
    tickets, controls = {arm.arm for arm in arms if arm.kind == "ticket"}, {arm.control for arm in arms}
    rows = [(ahead, row) for row in contents.verdicts.contrasts if (ahead := _ahead_of_dense(row)) is not None]
    lines = []
    for what, of in (
        ("random masks beat dense agents", [item for item in rows if item[0] in controls]),
        ("other arms beat dense agents", [item for item in rows if item[0] not in controls | tickets]),
    ):
        tasks = dict.fromkeys(row.task for _, row in of)
        for task in sorted(tasks, key=lambda task: task is not None):
            here = [item for item in of if item[1].task == task]
            named = few(
                f"{arm} {contents.wording.by((row, task, row.measure))}{holm_text(row.adjusted)}" for arm, row in here
            )
            place = _place(here[0][1])
            lines.append(contents.wording.once(f"{place[:1].upper()}{place[1:]}, {what}: {named}."))
    return lines


def _ahead_of_dense(row: ContrastResult) -> str | None:
    """The arm that a contrast with dense agents shows to be better than they are."""
    if row.outcome == "plus" and row.minus == (DENSE,):
        return row.plus[0]
    return row.minus[0] if row.outcome == "minus" and row.plus == (DENSE,) else None


def _is_below(row: ContrastResult) -> bool:
    highs = [high for high in (row.high, row.raw_high) if high is not None]
    return bool(highs) and max(highs) < 0
