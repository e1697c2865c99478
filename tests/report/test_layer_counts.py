"""Whether random masks with the tickets' layer counts differ as the tickets do, in words."""

from dataclasses import replace
from typing import Any

import pytest

from rlottery.report.answer import answer_or_advice
from rlottery.report.contents import Contents
from tests.report.contents import contents, contrast_result
from tests.report.test_answer import contrast

TASK = "Reacher-v5"
OWN = {"taylor-80": "random-t", "magnitude-80": "random-m"}


def study(
    controls: dict[str, Any], difference: float = 0.3, adjusted: float = 0.01, own: dict[str, str] = OWN
) -> Contents:
    """A study in which taylor is ahead of magnitude by `difference`, and random-t of random-m as `controls` say."""
    made = contents()
    row = replace(contrast(80, difference, adjusted), task=TASK, magnitude="magnitude-80", gradient="taylor-80")
    tasks = tuple(
        replace(task, arms=tuple(replace(arm, control=own.get(arm.arm)) for arm in task.arms))
        for task in made.verdicts.tasks
    )
    of = contrast_result("random-t vs random-m", TASK, origin="random against random", **controls)
    verdicts = replace(made.verdicts, methods=(row,), trends=(), tasks=tasks, contrasts=(of,))
    return replace(made, verdicts=verdicts)


def said(made: Contents) -> list[str]:
    return [line for line in answer_or_advice(made) if "numbers of weights per layer" in line]


@pytest.mark.parametrize(("difference", "outcome"), [(0.3, "plus"), (-0.3, "minus")])
def test_controls_that_differ_as_the_tickets_do(difference: float, outcome: str) -> None:
    (line,) = said(study({"outcome": outcome, "difference": difference}, difference))
    ahead, behind = ("random-t", "random-m") if difference > 0 else ("random-m", "random-t")
    assert line.startswith(
        f"On {TASK}, random masks with the tickets' numbers of weights per layer differ as the tickets"
    )
    assert f"{ahead} is better than {behind} by " in line
    assert line.endswith("So these numbers alone make a difference.")


def test_controls_that_differ_the_other_way() -> None:
    (line,) = said(study({"outcome": "minus", "difference": -0.3}))
    assert "layer do not differ as the tickets do: random-m is better than random-t by " in line
    assert line.endswith("So these numbers alone don't explain the difference.")


def test_controls_that_are_not_shown_to_differ() -> None:
    (line,) = said(study({"outcome": "open", "difference": 0.1}))
    assert "are not shown to differ (random-t vs random-m: " in line and line.endswith("make the difference.")


def test_nothing_is_said_if_the_tickets_or_their_controls_are_not_compared() -> None:
    shown = {"outcome": "plus", "difference": 0.3}
    assert said(study(shown, adjusted=0.2)) == []
    assert said(study({"outcome": None, "difference": 0.3})) == []
    assert said(study(shown, own=dict.fromkeys(OWN, "random-t"))) == []
    assert said(study(shown, own={"taylor-80": "random-t"})) == []
