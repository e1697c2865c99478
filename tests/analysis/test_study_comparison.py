"""Differences between studies, against SciPy."""

from typing import Any

import pytest
from scipy import stats

from rlottery.analysis.scores import TaskScores, score_tasks
from rlottery.analysis.study_comparison import (
    SettingDifference,
    StudyDifference,
    setting_differences,
    study_differences,
)
from rlottery.config import Config, config_to_dict
from tests.analysis.made import config, run, task

Made = tuple[dict[str, Any], tuple[TaskScores, ...]]
"""The config of a study in plain values, and its scores."""

A = {"dense": [100.0, 104.0, 97.0], "taylor-90": [90.0, 80.0, 85.0]}
B = {"dense": [120.0, 110.0, 119.0, 115.0], "taylor-90": [89.0, 84.0, 80.0, 87.0], "magnitude-90": [1.0] * 4}


def scores(name: str, arms: dict[str, list[float]]) -> TaskScores:
    return task(name, config(4), arms).scores


def differences(studies: dict[str, list[TaskScores]], least: int = 3) -> tuple[StudyDifference, ...]:
    return study_differences(studies, dict.fromkeys(studies, least))


def test_shared_arms_by_welch_and_holm() -> None:
    rows = differences({"one": [scores("a", A)], "two": [scores("a", B)]})
    assert [(row.task, row.arm, row.one, row.other, row.n_one, row.n_other) for row in rows] == [
        ("a", "dense", "one", "two", 3, 4),
        ("a", "taylor-90", "one", "two", 3, 4),
    ]
    for row in rows:
        test = stats.ttest_ind(B[row.arm], A[row.arm], equal_var=False)
        interval = test.confidence_interval(0.95)
        assert row.p == pytest.approx(test.pvalue)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    smaller, larger = sorted(row.p or 0.0 for row in rows)
    assert sorted(row.adjusted or 0.0 for row in rows) == pytest.approx([2 * smaller, max(2 * smaller, larger)])


def test_the_first_is_compared_with_each_of_the_others() -> None:
    rows = differences({name: [scores("a", A)] for name in ("one", "two", "three")})
    assert [(row.one, row.other) for row in rows if row.arm == "dense"] == [("one", "two"), ("one", "three")]
    assert all(row.difference == 0 and row.p == pytest.approx(1) for row in rows)


def test_a_single_run_has_no_test_and_no_interval() -> None:
    (row, *_) = differences({"one": [scores("a", {"dense": [5.0]})], "two": [scores("a", B)]})
    assert row.too_few and (row.low, row.high, row.p, row.adjusted) == (None, None, None, None)


def test_without_spread_there_is_no_interval_and_p_is_that_of_the_orders() -> None:
    ones, zeros = {"dense": [1.0] * 4}, {"dense": [0.5] * 4}
    (row,) = differences({"one": [scores("a", ones)], "two": [scores("a", zeros)]})
    assert (row.low, row.high) == (None, None)
    # All four of one study below all of the other: 2 of 70 orders.
    assert row.p == pytest.approx(2 / 70)
    (same,) = differences({"one": [scores("a", ones)], "two": [scores("a", ones)]})
    assert same.p == 1.0


def test_without_spread_in_one_study_the_other_s_scatter_is_all() -> None:
    varied = [1.0, 0.9, 0.8, 0.9]
    (row,) = differences({"one": [scores("a", {"dense": [0.5] * 4})], "two": [scores("a", {"dense": varied})]})
    # Welch's degrees of freedom are then those of the study that scatters: its one-sample t.
    assert row.p == pytest.approx(stats.ttest_1samp(varied, 0.5).pvalue)


@pytest.mark.parametrize("offset", [1e9, -1e12])
def test_an_offset_of_the_scores_hides_no_difference(offset: float) -> None:
    one, other = [1.0, 1.2, 0.9, 1.1, 1.05], [2.0, 2.2, 1.9, 2.1, 2.05]
    rows = [
        differences({"one": [scores("a", {"dense": [at + v for v in one]})], "two": [scores("a", {"dense": shifted})]})
        for at in (0.0, offset)
        for shifted in [[at + v for v in other]]
    ]
    (plain,), (far,) = rows
    digits = abs(offset) * 1e-15
    assert far.difference == pytest.approx(plain.difference, abs=digits) and plain.difference == pytest.approx(1)
    assert (far.low, far.high) == pytest.approx((plain.low, plain.high), abs=digits)
    assert far.p == pytest.approx(plain.p, rel=1e3 * digits) and plain.p is not None and plain.p < 1e-5


@pytest.mark.parametrize("factor", [1e-170, 1e40, 1e200])
def test_the_unit_of_the_scores_changes_no_p(factor: float) -> None:
    scaled = [{arm: [v * factor for v in ends] for arm, ends in study.items()} for study in (A, B)]
    plain = differences({"one": [scores("a", A)], "two": [scores("a", B)]})
    found = differences({name: [scores("a", arms)] for name, arms in zip(("one", "two"), scaled, strict=True)})
    assert [row.p for row in found] == pytest.approx([row.p for row in plain])
    assert [(row.low or 0.0) / factor for row in found] == pytest.approx([row.low for row in plain])


def test_scores_that_differ_in_their_last_bit_are_equal() -> None:
    ones = {"dense": [1e9 + 0.1 + 0.2] * 4}
    (row,) = differences({"one": [scores("a", ones)], "two": [scores("a", {"dense": [1e9 + 0.3 + 1e-7] * 4})]})
    assert (row.difference, row.p) == (0, 1)


def test_other_tasks_and_arms_are_skipped() -> None:
    assert differences({"one": [scores("a", A)], "two": [scores("b", B)]}) == ()


class TestTooFewSeeds:
    def test_below_either_study_s_least_number_nothing_is_tested(self) -> None:
        of = {"one": [scores("a", A)], "two": [scores("a", B)]}
        for least in ({"one": 5, "two": 3}, {"one": 3, "two": 5}, {"one": 4, "two": 3}):
            for row in study_differences(of, least):
                assert row.too_few and row.least == max(least.values())
                assert (row.low, row.high, row.p, row.adjusted) == (None, None, None, None)
        assert row.difference == pytest.approx(85.0 - 85.0)
        assert not any(row.too_few for row in differences(of))

    def test_such_rows_are_no_part_of_holm_s_family(self) -> None:
        short = {**A, "dense": A["dense"][:2]}
        dense, ticket = differences({"one": [scores("a", short)], "two": [scores("a", B)]})
        assert (dense.n_one, dense.p, dense.adjusted) == (2, None, None)
        # The only test of its family needs no correction.
        assert ticket.p is not None and ticket.adjusted == ticket.p


def settings(changes: dict[str, Any] | None = None, **recipe: Any) -> Made:
    """Two tasks with dense agents and a ticket, whose manifests say this recipe."""
    plain = config_to_dict(config(2))
    for key, value in {"tasks": ["a", "b"], **(changes or {})}.items():
        plain[key] = {**plain[key], **value} if isinstance(value, dict) else value
    of = Config.model_validate(plain)
    made = {"criterion": "taylor", "sparsity": {"actor": 0.9, "critic": 0.9}, "recipe": recipe}
    runs = [run("dense", 0, 0.0, 1.0, 1.0, 1.0), run("taylor-90", 0, 0.0, 1.0, 1.0, 1.0, **made)]
    return config_to_dict(of), score_tasks(of, {one.id: runs for one in of.tasks})


def found(one: Made, other: Made) -> list[tuple[str, tuple[str, ...], tuple[Any, ...]]]:
    unlike = setting_differences({"one": one[0], "other": other[0]}, {"one": one[1], "other": other[1]})
    return [(each.key, each.of, tuple(each.values.values())) for each in unlike]


class TestSettings:
    def test_alike(self) -> None:
        assert found(settings(), settings({"name": "other", "seeds": [0, 1, 2], "data": "elsewhere"})) == []

    def test_each_section(self) -> None:
        other = settings(
            {
                "training": {"env_steps": 600, "warmup_steps": 20},
                "sac": {"discount": 0.9},
                "network": {"actor": [64]},
                "evaluation": {"interval": 200},
                "verdict": {"margin": 0.2},
            }
        )
        assert sorted(found(settings(), other)) == [
            ("evaluation.interval", (), (100, 200)),
            ("network.actor", (), ([256, 256], [64])),
            ("sac.discount", (), (0.99, 0.9)),
            ("training.env_steps", (), (300, 600)),
            ("training.warmup_steps", (), (10, 20)),
            ("verdict.margin", (), (0.1, 0.2)),
        ]

    def test_a_study_that_says_nothing_of_environments_has_one(self) -> None:
        several = {"training": {"environments": 2}}
        assert found(settings(), settings(several)) == [("training.environments", (), (1, 2))]
        one = [{"id": task, "training": {"environments": 1}} for task in ("a", "b")]
        assert found(settings(), settings({**several, "tasks": one})) == []

    def test_keys_that_an_algorithm_does_not_read_have_no_value_of_it(self) -> None:
        def with_algorithm(name: str, **more: Any) -> Made:
            plain = {"algorithm": name, "tasks": ["a"], "seeds": [0], "evaluation": {"interval": 100}}
            of = Config.model_validate(plain | {"training": {"env_steps": 4096, **more}})
            return config_to_dict(of), score_tasks(of, {"a": [run("dense", 0, 0.0, 1.0, 1.0, 1.0)]})

        assert found(with_algorithm("td3", warmup_steps=200), with_algorithm("ppo")) == [
            ("algorithm", (), ("td3", "ppo")),
            ("training.warmup_steps", (), (200,)),
            ("training.updates_per_step", (), (1,)),
        ]
        unlike = found(with_algorithm("td3"), with_algorithm("dqn"))
        widths = [256, 256]
        assert [one for one in unlike if one[0].startswith("network")] == [
            ("network.actor", (), (widths,)),
            ("network.critic", (), (widths,)),
            ("network.q", (), (widths,)),
        ]

    def test_a_task_s_own_settings_count_and_not_where_they_are(self) -> None:
        longer = {"id": "b", "training": {"env_steps": 600}, "sac": {"reward_scale": 5.0}, "kwargs": {"frames": 2}}
        assert found(settings(), settings({"tasks": ["a", longer]})) == [
            ("training.env_steps", ("b",), (300, 600)),
            ("sac.reward_scale", ("b",), (1.0, 5.0)),
            ("tasks.kwargs.frames", ("b",), (None, 2)),
        ]
        each = [{"id": task, "training": {"env_steps": 600}} for task in ("a", "b")]
        assert found(settings({"tasks": each}), settings({"training": {"env_steps": 600}})) == []

    def test_tasks_of_one_study_alone_do_not_count(self) -> None:
        alone = {"id": "c", "training": {"env_steps": 600}}
        assert found(settings(), settings({"tasks": ["a", "b", alone]})) == []

    def test_arms_of_one_name_made_differently(self) -> None:
        assert found(settings(allocation="erk"), settings(of={"criterion": "taylor"})) == [
            ("arms.allocation", ("taylor-90",), ("erk", None)),
            ("arms.of.criterion", ("taylor-90",), (None, "taylor")),
        ]

    @pytest.mark.parametrize(
        ("recipe", "keys"),
        [
            ({}, ["arms.twins"]),
            ({"schedule": {"gradual": {"interval": 20}}}, ["arms.twins"]),
            ({"allocation": "erk"}, []),
            ({"schedule": {"rigl": {"interval": 20}}}, []),
            ({"transfer": {"file": "a.pkl"}}, []),
            ({"control": "random", "of": {"criterion": "taylor", "sparsity": {"actor": 0.9}}}, ["arms.of.twins"]),
            ({"control": "random", "of": {"sparsity": {"actor": 0.9}, "allocation": "erk"}}, []),
        ],
    )
    def test_a_budget_that_twin_critics_share(self, recipe: dict[str, Any], keys: list[str]) -> None:
        made = {name: settings(**recipe) for name in ("one", "other")}
        configs, studies = ({name: of[place] for name, of in made.items()} for place in (0, 1))
        unlike = setting_differences(configs, studies, shared=["one"])
        assert [(each.key, each.of, each.values) for each in unlike] == [
            (key, ("taylor-90",), {"one": "shared", "other": None}) for key in keys
        ]
        assert setting_differences(configs, studies, shared=["one", "other"]) == ()

    def test_which_rows_are_touched(self) -> None:
        names = {"one": [scores("a", A), scores("b", A)], "two": [scores("a", A), scores("b", A)]}
        rows = differences(names)

        def touched(*where: tuple[str, str | None], key: str = "training.env_steps", other: int = 2) -> list[str]:
            unlike = SettingDifference(key, (), {"one": 1, "two": other, "three": 3}, where)
            return [f"{row.task} {row.arm}" for row in rows if unlike.touches(row)]

        assert touched(("a", None)) == ["a dense", "a taylor-90"]
        assert touched(("b", "taylor-90")) == ["b taylor-90"]
        # Another study's value is nothing to these two, and scores do not depend on the verdict's settings.
        assert touched(("a", None), other=1) == touched(("a", None), key="verdict.margin") == []
