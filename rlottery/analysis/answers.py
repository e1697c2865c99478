"""Answers to one question about several tickets, on single tasks: Holm's correction, decisions and what limits them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.decisions import answer_of, corrected, detected_from, hypotheses, is_small, reason
from rlottery.analysis.failures import AtRisk, no_failure_seen
from rlottery.analysis.linear_forms import LinearForm
from rlottery.analysis.power import detectable, more_seeds_for
from rlottery.analysis.verdict import POSITIVE, Answer, Claim
from rlottery.config import Verdict


@dataclass(frozen=True)
class Asked:
    """One question about one arm on one task.

    Attributes:
        answer: without a decision: with what was compared, and why it can't be asked.
        form: the difference; None where nothing can be compared.
        p: the p-values that count: empty where the question can't be asked.
        at_risk: None without a scale.
        not_pooled: why a question that can be asked is not pooled over tasks; "" if it is.
    """

    task: str
    arm: str
    answer: Answer
    form: LinearForm | None = None
    p: Mapping[Claim, float] | None = None
    at_risk: AtRisk | None = None
    not_pooled: str = ""


def answered(of: Sequence[Asked], rules: Verdict) -> list[Answer]:
    """The answers to one question, after Holm's correction of each claim over all arms and tasks."""
    family = sum(bool(one.p) for one in of)
    if not family:
        return [one.answer for one in of]
    question = of[0].answer.question
    found = []
    for one, adjusted in zip(of, corrected(question, [one.p or {} for one in of]), strict=True):
        if not one.p or one.form is None:
            found.append(one.answer)
            continue
        word = answer_of(question, adjusted, rules.level)
        more = _more_seeds(one, rules.level / family, rules) if word == "open" else None
        least = detectable([one.form], detected_from(question, rules.margin), rules.level / family)
        unit, difference, seen = one.form.gain or 1.0, one.form.difference, None
        if word in POSITIVE and one.at_risk is not None and difference is not None:
            seen = no_failure_seen([one.at_risk], difference, rules.margin, rules.level)
        found.append(
            replace(
                one.answer,
                answer=word,
                why=reason(question, word, one.p, adjusted, more, rules),
                adjusted=adjusted,
                small=is_small(word, adjusted, rules.level),
                more_seeds=more,
                detectable=None if one.form.gain is None else least,
                raw_detectable=None if least is None else math.ldexp(least * unit, one.form.exponent),
                no_failure=seen,
            )
        )
    return found


def _more_seeds(of: Asked, level: float, rules: Verdict) -> int | None:
    """The smallest number of more seeds that gives 80 % power for one of the claims, at current estimates."""
    assert of.form is not None and of.p is not None
    claims = hypotheses(of.answer.question, rules.margin)
    numbers = [more_seeds_for(of.form, claims[claim], level=level) for claim in of.p if claim != "superior"]
    return min((number for number in numbers if number is not None), default=None)
