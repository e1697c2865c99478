"""Decisions: the p-value of each claim, Holm's correction, and the claim that holds, with the reason."""

from collections.abc import Mapping, Sequence

from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.rules import margin_text
from rlottery.analysis.verdict import CLAIMS, Claim, Contrast, Decision
from rlottery.config import Verdict


def claims(dense: Contrast, control: Contrast | None) -> dict[Claim, float]:
    """The p-value of each claim that can be tested. Only "losing" can be tested without a control."""
    if dense.p_inferior is None or dense.p_non_inferior is None:
        return {}
    found: dict[Claim, float] = {"losing": dense.p_inferior}
    if control is not None and control.p_superior is not None and control.p_equivalent is not None:
        found["winning"] = max(dense.p_non_inferior, control.p_superior)
        found["matches dense, no better than random"] = max(dense.p_non_inferior, control.p_equivalent)
    return found


def corrected(of: Sequence[Mapping[Claim, float]]) -> list[dict[Claim, float]]:
    """The p-values of each claim after Holm's correction over all arms for which it can be tested."""
    found: list[dict[Claim, float]] = [{} for _ in of]
    for claim in CLAIMS:
        for adjusted, value in zip(found, holm([p.get(claim) for p in of]), strict=True):
            if value is not None:
                adjusted[claim] = value
    return found


def decision_of(adjusted: Mapping[Claim, float], rules: Verdict) -> Decision:
    """The first claim that holds after correction."""
    return next((claim for claim in CLAIMS if adjusted.get(claim, 1.0) <= rules.level), "undecided")


def reason(
    decision: Decision,
    p: Mapping[Claim, float],
    control: str | None,
    against_control: Contrast | None,
    more_seeds: int | None,
    rules: Verdict,
) -> str:
    """What a decision rests on, or what keeps it open."""
    non_inferior = f"non-inferior to dense at a margin of {margin_text(rules)}"
    random = "random masks with the same layer counts"
    match decision:
        case "winning":
            p_equivalent = None if against_control is None else against_control.p_equivalent
            small = ", although by less than the margin" if (p_equivalent or 0) <= rules.level else ""
            return f"{non_inferior}, and better than {random}{small if p_equivalent is not None else ''}"
        case "matches dense, no better than random":
            return f"{non_inferior}, and equivalent to {random}"
        case "losing":
            return f"worse than dense by more than the margin of {margin_text(rules)}"
    uncorrected = next((claim for claim in CLAIMS if p.get(claim, 1.0) <= rules.level), None)
    if control is None:
        return "there is no random control with its layer counts, so only a loss could be shown"
    if "winning" not in p:
        return "too few seeds have a random control, so only a loss could be shown"
    if uncorrected is not None:
        return f'significant for "{uncorrected}" on its own, but not after correction for all arms and tasks'
    return "the intervals allow more than one answer" if more_seeds is not None else "too close, or too variable"
