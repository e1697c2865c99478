"""Schedules: their descriptions, and when they change masks."""

from rlottery.config import Training
from rlottery.config.schedules import IN_TRAINING, SCHEDULES, Gradual, PruningSchedule, RigL


def test_every_schedule_is_described() -> None:
    assert list(SCHEDULES) == ["one-shot", "iterative", "gradual", "set", "rigl"]
    assert all(all(vars(method).values()) for method in SCHEDULES.values())
    assert {"one-shot", *PruningSchedule.model_fields} == set(SCHEDULES)
    assert IN_TRAINING == ("gradual", "set", "rigl")


def test_masks_change_only_after_the_warm_up() -> None:
    training = Training(env_steps=1000, warmup_steps=200)
    assert Gradual(start=0.5, end=0.75).window(training) == (500, 750)
    assert Gradual(start=0.1, end=0.75).window(training) == (201, 750)
    assert RigL(end=0.8).window(training) == (201, 800)


def test_masks_change_only_after_the_first_update() -> None:
    seldom = Training(env_steps=1000, warmup_steps=200, updates_per_step={"every": 50, "updates": 4})
    assert Gradual(start=0.1, end=0.75).window(seldom) == (250, 750)
    assert RigL(end=0.8).window(seldom) == (250, 800)


def test_with_several_environments_masks_change_when_all_have_taken_a_step() -> None:
    training = Training(env_steps=1000, warmup_steps=200, environments=8)
    assert Gradual(start=0.1, end=0.753).window(training) == (201, 752)
    assert RigL(end=0.8).window(training) == (201, 800)
