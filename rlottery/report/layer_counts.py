"""Whether gradient and magnitude tickets differ as random masks with their numbers of weights per layer do."""

from collections.abc import Iterator

from rlottery.analysis.verdict import ContrastResult, MethodContrast
from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import claim_of
from rlottery.report.wording import holm_text, plural


def layer_count_lines(contents: Contents) -> Iterator[str]:
    """A sentence for each difference between the methods that is shown, if the random controls are compared too.

    Over tasks if the methods were compared over tasks, else on single tasks.
    """
    rules, rows = contents.rules, [row for row in contents.verdicts.methods if row.measure == "score"]
    for row in [row for row in rows if row.task is None] or rows:
        if row.adjusted is None or row.adjusted > rules.level or row.fewest < rules.least_seeds:
            continue
        if (controls := _of_controls(row, contents)) is not None and controls.outcome is not None:
            yield contents.wording.once(_sentence(row, controls, contents))


def _sentence(row: MethodContrast, controls: ContrastResult, contents: Contents) -> str:
    where = f"On {row.task}" if row.task is not None else f"Over {plural(len(controls.tasks), 'task')}"
    masks = f"{where}, random masks with the tickets' numbers of weights per layer"
    placed, tested = (controls, controls.task, controls.measure), holm_text(controls.adjusted)
    if controls.outcome == "open":
        found = f"{controls.text}: {contents.wording.signed(placed)}{tested}"
        return f"{masks} are not shown to differ ({found}), so it is not shown that these numbers make the difference."
    (better,) = controls.plus if controls.outcome == "plus" else controls.minus
    found = f"{claim_of(controls, opposite=controls.outcome == 'minus')} {contents.wording.by(placed)}{tested}"
    if better == _control(row.gradient if row.difference > 0 else row.magnitude, row.task, contents):
        return f"{masks} differ as the tickets do: {found}. So these numbers alone make a difference."
    return f"{masks} do not differ as the tickets do: {found}. So these numbers alone don't explain the difference."


def _of_controls(row: MethodContrast, contents: Contents) -> ContrastResult | None:
    """The contrast of the random controls of the two tickets, where each has one of its own."""
    arms = {_control(arm, row.task, contents) for arm in (row.gradient, row.magnitude)}
    of_both = (
        contrast
        for contrast in contents.verdicts.contrasts
        if (contrast.task, contrast.measure) == (row.task, "score") and {*contrast.plus, *contrast.minus} == arms
    )
    return next(of_both, None) if len(arms) == 2 else None


def _control(ticket: str, task: str | None, contents: Contents) -> str | None:
    """The random control of a ticket, on that task or on the first that has one."""
    arms = (arm for of in contents.verdicts.tasks if task in (None, of.task) for arm in of.arms)
    return next((arm.control for arm in arms if arm.arm == ticket and arm.control is not None), None)
