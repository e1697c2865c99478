"""The simulation of the verdict's error rates makes the verdict's own claims."""

import csv
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import verdict_errors
from benchmarks.simulated_verdicts import (
    LEAST_GAIN,
    MARGIN,
    Sample,
    Task,
    claimed,
    contrast_p,
    fails_more_often_p,
    holm,
    judged,
    pooled_p_values,
)
from benchmarks.verdict_errors import committed_tasks, rows_of
from rlottery.analysis import hypothesis_tests
from rlottery.analysis.judging import TaskToJudge, judge
from rlottery.analysis.linear_forms import linear_form, welch_test
from rlottery.analysis.verdict import ArmVerdict
from tests.analysis.made import config, task

SEEDS, STUDIES = 5, 6
NAMES = {
    "dense": {"superior": "superior", "non-inferior": "non-inferior", "worse": "worse than dense"},
    "random": {"better": "better", "worse": "worse than random", "equivalent": "equivalent"},
}
"""Question -> the verdict's claim -> the simulation's."""


def drawn(kind: str, tickets: int = 1) -> Task:
    """A few studies of each kind of scores, close to the boundaries of claims, with ties where there may be any."""
    generator = np.random.default_rng(sum(map(ord, kind)))
    one, full = (STUDIES, 1, SEEDS), (STUDIES, tickets, SEEDS)
    if kind == "normal":
        dense, ticket, control = (
            mean + 0.1 * generator.standard_normal(shape) for mean, shape in ((1, one), (0.95, full), (0.85, full))
        )
        return Task(0.2 * generator.standard_normal(SEEDS), dense, ticket, control)
    if kind == "rare failures":
        good = np.array([0.98, 1.0, 1.0, 1.01, 1.05])
        dense = generator.choice(good, one)
        ticket, control = (np.where(generator.random(full) < 0.1, 0.2, generator.choice(good, full)) for _ in range(2))
        return Task(np.zeros(SEEDS), dense, ticket, control)
    share = 0.3 if kind == "seldom learned" else 0.8
    dense, ticket, control = ((generator.random(shape) < share).astype(float) for shape in (one, full, full))
    return Task(np.zeros(SEEDS), dense, ticket, control, resolution=1 / 30)


def as_judged(name: str, of: Task, study: int) -> TaskToJudge:
    """One of the studies, for the verdict: tickets taylor-50, taylor-51, ... with their controls."""
    assert not isinstance(of.untrained, Sample)
    scores = {"dense": of.dense[study, 0].tolist()}
    for index, (ticket, control) in enumerate(zip(of.ticket[study], of.control[study], strict=True), start=50):
        scores |= {f"taylor-{index}": ticket.tolist(), f"random-{index}": control.tolist()}
    controls = {f"random-{arm[7:]}": arm for arm in scores if arm.startswith("taylor")}
    made = task(name, config(SEEDS), scores, controls, of.untrained.tolist(), least_gain=LEAST_GAIN)
    if of.resolution is None:
        return made
    return replace(made, scores=replace(made.scores, metric="success", resolution=of.resolution))


def tickets(tasks: Sequence[TaskToJudge]) -> list[ArmVerdict]:
    """The verdicts on all tickets, with Holm's correction over them."""
    verdicts, _ = judge(tasks, config(SEEDS).verdict)
    return [arm for verdict in verdicts for arm in verdict.arms if arm.kind == "ticket"]


@pytest.mark.parametrize("kind", ["normal", "rare failures", "0 or 1", "seldom learned"])
def test_the_simulated_claims_are_those_of_the_verdict(kind: str) -> None:
    draw = drawn(kind)
    outcome = judged(draw)
    seen = set()
    for study in range(STUDIES):
        (arm,) = tickets([as_judged("a", draw, study)])
        for question, claims in NAMES.items():
            answer = getattr(arm, question)
            asked = answer.answer is not None
            assert (answer.measure == "area") == outcome.tied[question][study, 0]
            if answer.measure == "area":
                continue
            seen.add((question, answer.answer))
            for claim, name in claims.items():
                p = outcome.p[name][study, 0]
                if not asked or claim not in answer.adjusted:
                    assert np.isnan(p)
                else:
                    assert p == pytest.approx(answer.comparison.p[claim], rel=1e-9)
            if answer.answer in ("superior", "non-inferior", "equivalent"):
                assert (answer.no_failure is not None) == outcome.no_failure[question][study, 0]
    assert len(seen) > 1


def test_claims_of_many_tickets_are_those_of_the_verdict() -> None:
    """Two tickets with the same control on each of three tasks, and the same tickets over the tasks."""
    draws = [drawn("normal", tickets=2)._replace(untrained=np.linspace(-0.1, 0.1, SEEDS)) for _ in range(3)]
    draws = [
        draw._replace(control=draw.control[:, [0, 0]], ticket=draw.ticket + shift)
        for draw, shift in zip(draws, (0.0, 0.05, -0.05), strict=True)
    ]
    each = [judged(draw).p for draw in draws]
    made = claimed({claim: np.concatenate([p[claim] for p in each], axis=-1) for claim in each[0]})
    pooled = pooled_p_values(draws)
    for study in range(2):
        tasks = [as_judged(name, draw, study) for name, draw in zip("abc", draws, strict=True)]
        for index, arm in enumerate(tickets(tasks)):
            assert arm.wins == made["wins"][study, index]
            assert (arm.dense.answer == "superior") == made["superior"][study, index]
            assert (arm.dense.answer == "worse") == made["worse than dense"][study, index]
            assert (arm.random.answer == "worse") == made["worse than random"][study, index]
        for index, over in enumerate(judge(tasks, config(SEEDS).verdict)[1]):
            for question, claims in NAMES.items():
                p = getattr(over, question).comparison.p
                for claim, name in claims.items():
                    assert pooled[name][study, index] == pytest.approx(p[claim], rel=1e-9)


def test_contrasts_corrections_and_failures_are_those_of_the_package() -> None:
    generator = np.random.default_rng(3)
    arms = [spread * generator.standard_normal((1, 6)) for spread in (1.0, 0.2, 0.5, 2.0)]
    form = linear_form(["a", "d"], ["b", "c"], dict(zip("abcd", (arm[0].tolist() for arm in arms), strict=True)))
    assert form is not None and (test := welch_test([form])) is not None
    assert contrast_p(arms, (1, -1, -1, 1))[0] == pytest.approx(test.p_above)
    p = generator.uniform(0, 0.2, (20, 5))
    p[::2, 3] = np.nan
    for row, adjusted in zip(p, holm(p), strict=True):
        expected = hypothesis_tests.holm([None if np.isnan(value) else value for value in row])
        np.testing.assert_allclose(adjusted, [np.nan if value is None else value for value in expected])
    assert fails_more_often_p(np.array([3]), np.array([0]), 5)[0] == hypothesis_tests.fails_more_often(3, 5, 0, 5)


def test_what_is_simulated_is_on_the_margin() -> None:
    """The committed study is read as its report has it, and failed runs take the mean exactly to the margin."""
    tasks = {one.task: one for one in committed_tasks()}
    reacher = tasks["Reacher-v5"]
    assert reacher.arms["dense"].mean() == pytest.approx(1) and reacher.resolution is None
    assert reacher.arms["magnitude-90"].mean() == pytest.approx(0.96, abs=0.005)  # as results/reference has it
    assert tasks["drawer-close-v3"].resolution == pytest.approx(1 / 30 / (0.9934 - 0.46), rel=0.01)
    rate = verdict_errors.failing_share(reacher)
    assert (1 - rate) * reacher.arms["dense"].mean() + rate * reacher.failed.mean() == pytest.approx(1 - MARGIN)


def test_rates_are_shares_of_studies() -> None:
    """A study with a claim, one with a claim that rests on no failure seen, and one without."""
    good, far = [0.99, 1.0, 1.0, 1.0, 1.01], [0.1, 0.2, 0.15, 0.1, 0.2]
    failed_once = [[1.0, 1.0, 1.0, 1.0, 0.0]]
    draw = Task(
        np.zeros(100),
        dense=np.array([[good]] * 3),
        ticket=np.array([[good], [good], [far]]),
        control=np.array([[far]] * 3),
        others=np.array([[good], failed_once, [good]]),
    )
    (row,) = rows_of([draw._replace(ticket=draw.ticket - 0.03)], ("non-inferior",), "made", "none", "one")
    assert [row.error, row.unflagged] == pytest.approx([2 / 3, 1 / 3])


def test_the_committed_rates_are_as_the_docs_say_where_runs_scatter_around_their_mean() -> None:
    rows = list(csv.DictReader(verdict_errors.RESULT.read_text().splitlines()))
    smooth = [row for row in rows if row["scores"].startswith(("normal", "t3")) and row["claim"] != "any false"]
    assert {row["structure"] for row in smooth} == {"one", "24", "pooled"} and len(smooth) > 500
    for row in smooth:
        # Four standard errors: with so many rows, three would be exceeded by chance.
        assert float(row["error"]) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / int(row["simulations"])), row
