"""Decisions: Holm's correction of each claim, the claim that is left standing, and the words for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlottery.analysis.contrasts import Paired, Pooled
from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.verdict import ArmVerdict, Claim, Contrast, Decision
from rlottery.config import Verdict

CLAIMS: tuple[Claim, ...] = ("winning", "sparse, not special", "losing")
"""In the order of precedence: a ticket above its control is winning, however little."""


@dataclass(frozen=True)
class Judged:
    """An arm on the way to its verdict, and what the pool needs of it."""

    verdict: ArmVerdict
    dense: Paired | None = None
    control: Paired | None = None

    @property
    def is_ticket(self) -> bool:
        return self.verdict.kind == "ticket"


def claims(dense: Contrast | Pooled, control: Contrast | Pooled | None) -> dict[Claim, float]:
    """The p-value of each claim; those about a control only where there is one. Empty where there is no test."""
    if dense.p_worse is None or dense.p_not_worse is None:
        return {}
    found: dict[Claim, float] = {"losing": dense.p_worse}
    if control is not None and control.p_above is not None and control.p_equal is not None:
        found["winning"] = max(dense.p_not_worse, control.p_above)
        found["sparse, not special"] = max(dense.p_not_worse, control.p_equal)
    return found


def corrected(of: Sequence[Mapping[Claim, float]]) -> list[dict[Claim, float]]:
    """Each claim's p-values after Holm's correction over all that it is made of."""
    found: list[dict[Claim, float]] = [{} for _ in of]
    for claim in CLAIMS:
        places = [index for index, p in enumerate(of) if claim in p]
        for index, value in zip(places, holm([of[index][claim] for index in places]), strict=True):
            found[index][claim] = value
    return found


def decision_of(adjusted: Mapping[Claim, float], rules: Verdict) -> Decision:
    """The first claim that stands after correction."""
    return next((claim for claim in CLAIMS if adjusted.get(claim, 1.0) <= rules.level), "undecided")


def reason(
    decision: Decision,
    p: Mapping[Claim, float],
    control: str | None,
    against_control: Contrast | None,
    further: int | None,
    rules: Verdict,
) -> str:
    """What a decision rests on, or what keeps it open, in words."""
    margin = f"{rules.margin:g} of what dense gained"
    match decision:
        case "winning":
            p_equal = None if against_control is None else against_control.p_equal
            tail = ", by less than the margin" if p_equal is not None and p_equal <= rules.level else ""
            return f"not worse than dense by {margin}, and better than random masks of the same layer counts{tail}"
        case "sparse, not special":
            return f"not worse than dense by {margin}, and level with random masks of the same layer counts"
        case "losing":
            return f"worse than dense by more than {margin}"
    uncorrected = next((claim for claim in CLAIMS if p.get(claim, 1.0) <= rules.level), None)
    if control is None:
        return "no random control with its layer counts stands beside it, so only a loss could be shown"
    if "winning" not in p:
        return "too few seeds have a random control beside them, so only a loss could be shown"
    if uncorrected is not None:
        return f"{uncorrected} if it stood alone, but not after the correction for all arms and tasks"
    return "the bounds leave room for more than one answer" if further is not None else "too close, or too scattered"
