"""Decisions: p-values of claims, Holm's correction, and the answer that holds to each question, with the reason."""

from collections.abc import Mapping, Sequence

from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.linear_forms import Hypothesis, LinearForm, welch_test
from rlottery.analysis.rules import margin_text
from rlottery.analysis.verdict import CLAIMS, AnswerWord, Claim, Question
from rlottery.config import Verdict

RANDOM_MASKS = "random masks with the same layer counts"


def hypotheses(question: Question, margin: float) -> dict[Claim, tuple[Hypothesis, ...]]:
    """What must be shown for each claim, about the normalised difference."""
    above, below = Hypothesis(-margin, 1), Hypothesis(margin, -1)
    if question == "dense":
        return {"superior": (Hypothesis(0.0, 1),), "non-inferior": (above,), "worse": (Hypothesis(-margin, -1),)}
    return {"better": (Hypothesis(0.0, 1),), "worse": (Hypothesis(0.0, -1),), "equivalent": (above, below)}


def p_values(question: Question, of: Sequence[LinearForm], margin: float) -> dict[Claim, float]:
    """The p-value of each claim that can be tested, over one task or several.

    Of a claim with two parts it is the larger one. Without a scale it can be better or worse than random.
    """
    if question == "dense" and any(form.gain is None for form in of):
        return {}
    found: dict[Claim, float] = {}
    for claim, parts in hypotheses(question, margin).items():
        tests = [(part, test) for part in parts if (test := welch_test(of, part.at)) is not None]
        if len(tests) == len(parts):
            found[claim] = max(test.p_above if part.sign > 0 else test.p_below for part, test in tests)
    return found


def corrected(question: Question, of: Sequence[Mapping[Claim, float]]) -> list[dict[Claim, float]]:
    """The p-values of each claim after Holm's correction over all arms and tasks for which it can be tested."""
    found: list[dict[Claim, float]] = [{} for _ in of]
    for claim in CLAIMS[question]:
        for adjusted, value in zip(found, holm([p.get(claim) for p in of]), strict=True):
            if value is not None:
                adjusted[claim] = value
    return found


def answer_of(question: Question, adjusted: Mapping[Claim, float], level: float) -> AnswerWord:
    """The first claim that holds after correction. A superior ticket is non-inferior, too."""
    held = [claim for claim in CLAIMS[question] if adjusted.get(claim, 1.0) <= level]
    if "superior" in held and "non-inferior" not in held:
        held.remove("superior")
    return held[0] if held else "open"


def is_small(answer: AnswerWord, adjusted: Mapping[Claim, float], level: float) -> bool:
    """Whether a ticket is shown to be better or worse than random, and also to differ by less than the margin."""
    return answer in ("better", "worse") and adjusted.get("equivalent", 1.0) <= level


def detected_from(question: Question, margin: float) -> float:
    """The normalised difference from which it counts what a study can detect."""
    return -margin if question == "dense" else 0.0


def reason(
    question: Question,
    answer: AnswerWord,
    p: Mapping[Claim, float],
    adjusted: Mapping[Claim, float],
    more_seeds: int | None,
    rules: Verdict,
) -> str:
    """What an answer rests on, or what keeps it open."""
    margin = margin_text(rules)
    small = ", although by less than the margin" if adjusted.get("equivalent", 1.0) <= rules.level else ""
    match answer:
        case "superior":
            return "better than dense"
        case "non-inferior":
            return f"non-inferior to dense at a margin of {margin}"
        case "better":
            return f"better than {RANDOM_MASKS}{small}"
        case "equivalent":
            return f"equivalent to {RANDOM_MASKS} at a margin of {margin}"
        case "worse" if question == "dense":
            return f"worse than dense by more than the margin of {margin}"
        case "worse":
            return f"worse than {RANDOM_MASKS}{small}"
    alone = next((claim for claim in CLAIMS[question] if p.get(claim, 1.0) <= rules.level), None)
    if alone is not None:
        return f'significant for "{alone}" on its own, but not after correction for all arms and tasks'
    return "the intervals allow more than one answer" if more_seeds is not None else "too close, or too variable"
