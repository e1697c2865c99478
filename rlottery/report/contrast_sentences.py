"""Contrasts in sentences: what each shows, and when it was registered."""

from collections.abc import Sequence

from rlottery.analysis.digits import MINUS
from rlottery.analysis.verdict import ContrastResult
from rlottery.report.contents import Contents
from rlottery.report.differences_in_words import Wording
from rlottery.report.wording import joined, p_text, plural
from rlottery.storage.paths import DENSE

_MOST_NAMED = 4


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
            return "open: its interval speaks for the opposite"
        case "open":
            return "open"
    return f"not tested: {row.why}" if row.why else "not tested"


def registered(row: ContrastResult, contents: Contents) -> str:
    """When a contrast was registered: ``registered before the first run``."""
    if row.origin != "registered":
        return "not registered; a default comparison"
    ended = contents.claims.get((row.text, row.measure))
    if ended is None:
        return "registered; not recorded when"
    return "registered before the first run" if ended == 0 else f"registered after {plural(ended, 'run')} had ended"


def contrast_lines(contents: Contents) -> list[str]:
    """A line for each contrast that shows something; then those that are open, and those that can't be tested yet.

    Default comparisons that show nothing are counted, and the others are named with their numbers.
    """
    every = by_contrast(contents.verdicts.contrasts)
    lines = [contrast_line(of, contents) for of in every if _shows(of)]
    of_config = [of for of in every if of[0].origin == "registered" and not _shows(of)]
    tested = [of for of in of_config if any(row.outcome == "open" for row in of)]
    for when, group in _by_registration(tested, contents).items():
        lines.append(contents.wording.once(f"Open ({when}): {'; '.join(_open_part(of, contents) for of in group)}."))
    for when, group in _by_registration([of for of in of_config if of not in tested], contents).items():
        can = "can't be tested yet" if len(group) > 1 else f"{group[0][0].text} can't be tested yet"
        what = f"{len(group)} contrasts" if len(group) > 1 else "1 contrast"
        named = f" ({_some([of[0].text for of in group])})" if len(group) > 1 else ""
        least = plural(contents.rules.least_seeds, "seed")
        lines.append(f"{what}{named}, {when}: {can}. Each of the arms needs {least} on a task.")
    if rest := sum(of[0].origin != "registered" and not _shows(of) for of in every):
        what = f"{plural(rest, 'default comparison')} show{'s' if rest == 1 else ''} nothing yet"
        lines.append(f"{what} (tables/contrasts.csv has all, with their numbers).")
    return lines


def _shows(of: Sequence[ContrastResult]) -> bool:
    return any(row.outcome in ("plus", "minus") for row in of)


def _by_registration(
    contrasts: Sequence[Sequence[ContrastResult]], contents: Contents
) -> dict[str, list[Sequence[ContrastResult]]]:
    """When they were registered -> the contrasts."""
    found: dict[str, list[Sequence[ContrastResult]]] = {}
    for of in contrasts:
        found.setdefault(registered(of[0], contents), []).append(of)
    return found


def _open_part(of: Sequence[ContrastResult], contents: Contents) -> str:
    """``a > b (over 3 tasks +0.05 in normalised score, Holm-corrected p = 0.20)``, or on the only task with a test."""
    pooled = [row for row in of if row.task is None and row.outcome == "open"]
    single = [row for row in of if row.task is not None and row.outcome == "open"]
    name = of[0].text + (", by area under the curve" if of[0].measure == "area" else "")
    row = pooled[0] if pooled else single[0] if len(single) == 1 else None
    if row is None or (row.difference is None and row.raw_difference is None):
        return name
    where = f"over {plural(len(row.tasks), 'task')}" if row.task is None else f"on {row.task}"
    p = f", Holm-corrected {p_text(row.adjusted)}" if row.adjusted is not None else ""
    leans = "; the interval speaks for the opposite" if not row.two_sided and _is_below(row) else ""
    return f"{name} ({where} {contents.wording.signed([(row, row.task, row.measure)])}{p}{leans})"


def contrast_line(of: Sequence[ContrastResult], contents: Contents) -> str:
    """What one contrast shows on its tasks and over them: over them first, then where it is shown, then the rest."""
    wording = contents.wording
    first = of[0]
    measured = ", by area under the curve" if first.measure == "area" else ""
    pooled = [row for row in of if row.task is None]
    single = [row for row in of if row.task is not None]
    still_open = [row for row in single if row.outcome == "open"]
    told = [row for row in single if row.outcome in ("plus", "minus")]
    if len(of) == 1 or (not pooled and len(still_open) == 1):
        told += [row for row in single if row not in told and (row.outcome == "open" or len(of) == 1)]
        still_open = []
    parts = [_part(row, wording) for row in (*pooled, *told)]
    parts += [f"open on {_some([row.task or '' for row in still_open])}"] if still_open else []
    untested = [row.task or "" for row in single if row.outcome is None and row not in told]
    parts += [f"not tested on {_some(untested)}"] if untested else []
    return wording.once(f"{first.text}{measured} ({registered(first, contents)}): {'; '.join(parts)}.")


def by_contrast(rows: Sequence[ContrastResult]) -> list[list[ContrastResult]]:
    """The rows of each contrast together: its tasks, then its pool."""
    found: dict[tuple[str, str, str], list[ContrastResult]] = {}
    for row in rows:
        found.setdefault((row.origin, row.text, row.measure), []).append(row)
    return list(found.values())


def _part(row: ContrastResult, wording: Wording) -> str:
    """``shown on reach-v3: rigl-90 is better than set-90 by 0.12 in success rate, Holm-corrected p = 0.012``."""
    where = f"on {row.task}" if row.task is not None else f"over {plural(len(row.tasks), 'task')}"
    p = f", Holm-corrected {p_text(row.adjusted)}" if row.adjusted is not None else ""
    first, _, claim = outcome(row).partition(": ")
    if row.outcome in ("plus", "minus"):
        return f"{first} {where}: {claim} {wording.by([(row, row.task, row.measure)])}{p}"
    said = f"{first} {where}" + (f", because {claim}" if claim and row.outcome is None else "")
    if row.difference is None and row.raw_difference is None:
        return said
    tail = f"; {claim}" if claim else ""
    return f"{said} ({wording.signed([(row, row.task, row.measure)])}{p}{tail})"


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
            place = f"on {task}" if task is not None else f"over {plural(len(here[0][1].tasks), 'task')}"
            named = [
                f"{arm} {contents.wording.by([(row, task, row.measure)])}"
                + (f", Holm-corrected {p_text(row.adjusted)}" if row.adjusted is not None else "")
                for arm, row in here[:_MOST_NAMED]
            ]
            named += [f"{len(here) - _MOST_NAMED} more"] if len(here) > _MOST_NAMED else []
            lines.append(contents.wording.once(f"{place[:1].upper()}{place[1:]}, {what}: {'; '.join(named)}."))
    return lines


def _ahead_of_dense(row: ContrastResult) -> str | None:
    """The arm that a contrast with dense agents shows to be better than they are."""
    if row.outcome == "plus" and row.minus == (DENSE,):
        return row.plus[0]
    return row.minus[0] if row.outcome == "minus" and row.plus == (DENSE,) else None


def _is_below(row: ContrastResult) -> bool:
    highs = [high for high in (row.high, row.raw_high) if high is not None]
    return bool(highs) and max(highs) < 0


def _some(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED:
        return joined(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"
