import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
from metaworld.policies import SawyerDrawerCloseV3Policy

from rlottery import envs
from rlottery.errors import TaskError
from tests.environments import Strange, Target

DRAWER = "drawer-close-v3"
METAWORLD = sorted(name.removesuffix("-goal-observable") for name in ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE)[::6]
"""Every sixth. A study tries each of its tasks before its first run."""
GYMNASIUM = [
    "Pendulum-v1",
    "Pendulum-v1+noise50",
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Ant-v5",
    "Humanoid-v5",
]


@pytest.fixture(scope="module")
def drawer() -> envs.Environment:
    return envs.make(DRAWER)


def episode(environment: envs.Environment, seed: int, steps: int, other: envs.Environment | None = None) -> list[bytes]:
    """The first steps of an episode under actions that follow from nothing but their number, to the bit.

    If there is an `other` environment, it is stepped in between, and reset half-way.
    """
    rng = np.random.default_rng(0)
    seen = [environment.reset(seed).tobytes()]
    for index in range(steps):
        action = rng.uniform(-1, 1, environment.action_size).astype(np.float32)
        if other:
            if index == steps // 2:
                other.reset(seed + 1)
            other.step(-action)
        step = environment.step(action)
        seen += [step.observation.tobytes(), np.float64(step.reward).tobytes(), bytes(str(step[2:]), "ascii")]
        if step.terminated or step.truncated:
            break
    return seen


def rage(environment: envs.Environment, seed: int) -> bytes:
    """A whole episode in which every motor is at one bound or the other for 20 steps at a time; how it began."""
    rng = np.random.default_rng(seed)
    began = environment.reset(seed)
    for index in range(1000):
        if index % 20 == 0:
            action = rng.choice([-1.0, 1.0], environment.action_size).astype(np.float32)
        step = environment.step(action)
        if step.terminated or step.truncated:
            return began.tobytes()
    raise AssertionError("The episode did not end.")


@pytest.mark.parametrize(("action", "torque"), [(-1.0, -2.0), (0.0, 0.0), (0.25, 0.5), (1.0, 2.0), (7.0, 2.0)])
def test_actions_are_rescaled_to_the_bounds(action: float, torque: float) -> None:
    pendulum = gymnasium.make("Pendulum-v1")
    environment = envs.Environment("Pendulum-v1", pendulum)
    environment.reset(3)
    environment.step(np.array([action], np.float32))
    assert pendulum.unwrapped.last_u == pytest.approx(torque)


def test_observations_are_flat_float32_copies() -> None:
    raw = Target(overwrites=True)
    environment = envs.Environment("Target", raw)
    first = environment.reset(1)
    kept = first.copy()
    second = environment.step(np.zeros(1)).observation
    assert (first.dtype, first.shape) == (np.float32, (2,))
    assert np.array_equal(first, kept)
    assert second[1] == 1
    pendulum = envs.make("Pendulum-v1")
    assert pendulum.reset(2**63 + 5).dtype == np.float32
    assert (pendulum.observation_size, pendulum.action_size) == (3, 1)


@pytest.mark.parametrize("task", METAWORLD + GYMNASIUM)
def test_an_episode_follows_from_its_seed_alone(task: str) -> None:
    used, other = envs.make(task), envs.make(task)
    fresh = episode(used, seed=5, steps=20)
    assert rage(used, seed=8) != fresh[0]
    other.reset(9)
    assert episode(used, seed=5, steps=20, other=other) == fresh
    assert episode(other, seed=5, steps=20) == fresh


def test_a_time_limit_truncates_and_an_end_terminates() -> None:
    limited = envs.make("rlottery-tests/Target-v0", {"steps": 9, "max_episode_steps": 4})
    limited.reset(0)
    steps = [limited.step(np.zeros(1)) for _ in range(4)]
    assert [(s.terminated, s.truncated) for s in steps] == [(False, False)] * 3 + [(False, True)]

    ending = envs.Environment("Target", Target(steps=2, terminates=lambda episode: True))
    ending.reset(0)
    steps = [ending.step(np.zeros(1)) for _ in range(2)]
    assert [(s.terminated, s.truncated) for s in steps] == [(False, False), (True, False)]


def test_success_is_none_where_the_task_knows_none() -> None:
    for success_at, expected in ((None, [None, None]), (2, [False, True])):
        environment = envs.Environment("Target", Target(success_at=success_at))
        environment.reset(0)
        assert [environment.step(np.zeros(1)).success for _ in range(2)] == expected


def test_metaworld_leaves_the_global_random_stream_alone() -> None:
    np.random.seed(4)
    before = np.random.get_state()[1].copy()
    envs.make(DRAWER).reset(3)
    assert np.array_equal(before, np.random.get_state()[1])


def test_the_goal_of_metaworld_is_seen_and_differs_from_seed_to_seed(drawer: envs.Environment) -> None:
    goals = set()
    for seed in (1, 2, 2**40 + 1, 2**63 - 1):
        at_reset = drawer.reset(seed)[-3:]
        target = drawer._env.unwrapped._target_pos
        np.testing.assert_allclose(at_reset, target, atol=1e-6)
        np.testing.assert_allclose(drawer.step(np.zeros(4)).observation[-3:], target, atol=1e-6)
        goals.add(at_reset.tobytes())
    assert len(goals) == 4


@pytest.mark.filterwarnings("ignore:Constant.s. may be too high")  # the scripted policy's own
def test_a_solved_metaworld_episode_runs_to_its_time_limit(drawer: envs.Environment) -> None:
    expert = SawyerDrawerCloseV3Policy()
    observation = drawer.reset(3)
    steps = []
    while not steps or not (steps[-1].terminated or steps[-1].truncated):
        steps.append(drawer.step(expert.get_action(observation.astype(np.float64))))
        observation = steps[-1].observation
    assert len(steps) == 500
    assert steps[-1].truncated
    assert not any(step.terminated for step in steps)
    first = [step.success for step in steps].index(True)
    assert 0 < first < 450


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("Pendulm-v1", r"Unknown task 'Pendulm-v1'.*Did you mean .*Pendulum-v1"),
        ("pendulum-v1", "Did you mean .*Pendulum-v1"),
        ("Pendulum-v7", "Did you mean .*Pendulum-v1"),
        pytest.param(
            "Pendulum-v0",
            "`Pendulum-v1`",
            marks=pytest.mark.filterwarnings("ignore:.*out of date"),  # Gymnasium's own, before its error
        ),
        ("Pendulm-v1+noise50", r"Unknown task 'Pendulm-v1\+noise50'.*Did you mean .*Pendulum-v1\+noise50"),
        ("drawer-clos-v3+noise5", r"Unknown .*Did you mean .*drawer-close-v3\+noise5"),
        ("nomod:Foo-v1+noise5", r"'nomod:Foo-v1\+noise5' needs a module.*'nomod'"),
        ("Pendulum-v1+noise0", r"'\+noiseN' once, where N is a whole number from 1 to 1,000"),
        ("drawer-clos-v3", "Unknown task 'drawer-clos-v3'.*Did you mean .*drawer-close-v3"),
        ("Qzxwvut-v9", "No similar name found"),
        ("rlottery-tests/Image-v0", r"images or another grid .*\(8, 8, 3\).*FlattenObservation"),
        ("rlottery-tests/Dict-v0", "Dict as observations.*FlattenObservation"),
        ("rlottery-tests/Unbounded-v0", "flat, bounded Box.*inf"),
        ("rlottery-tests/Matrix-v0", r"flat, bounded Box.*\(2, 2\)"),
        ("nomod:Foo-v1", "'nomod:Foo-v1' needs a module.*'nomod'"),
        ("nomod:foo-v3", "'nomod:foo-v3' needs a module.*'nomod'"),
        ("tests.environments:Foo-v1", "Unknown task 'tests.environments:Foo-v1'"),
    ],
)
def test_a_task_that_cannot_be_learnt_is_refused(task: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        envs.make(task)


def test_the_unknown_task_is_the_one_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strange, "__init__", lambda self: gymnasium.make("FetchReach-v9"))
    with pytest.raises(TaskError, match="'rlottery-tests/Endless-v0' can't be made .*: NameNotFound: .*FetchReach"):
        envs.make("rlottery-tests/Endless-v0")


def test_arguments_stay_what_they_are_when_an_environment_changes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def constructor(self: Strange, gains: dict[str, float]) -> None:
        original(self)
        gains.pop("knee")

    original, kwargs = Strange.__init__, {"gains": {"knee": 2.0}}
    monkeypatch.setattr(Strange, "__init__", constructor)
    for _ in range(2):
        envs.make("rlottery-tests/Endless-v0", kwargs)
    assert kwargs == {"gains": {"knee": 2.0}}


def test_an_environment_that_is_refused_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def close(self: Strange) -> None:
        closed.append(self)
        raise RuntimeError("close fails too")

    monkeypatch.setattr(Strange, "close", close)
    with pytest.raises(TaskError, match="flat, bounded Box"):
        envs.make("rlottery-tests/Unbounded-v0")
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AssertionError(), r"AssertionError in .*test_environment.py, line \d+: raise error"),
        (AssertionError("too many links"), "AssertionError: too many links"),
        (KeyError("links"), "KeyError: 'links'"),
        (OSError(2, "No such file", "robot.xml"), "FileNotFoundError: .*No such file.*robot.xml"),
    ],
)
def test_an_error_of_a_constructor_keeps_its_type_and_message(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constructor(self: Strange, **_: object) -> None:
        raise error

    monkeypatch.setattr(Strange, "__init__", constructor)
    with pytest.raises(TaskError, match=f"^Task 'rlottery-tests/Endless-v0' can't be made with no arguments: {words}"):
        envs.make("rlottery-tests/Endless-v0")


def test_a_module_is_imported_for_its_task() -> None:
    environment = envs.make("tests.environments:rlottery-tests/Target-v0", {"steps": 2})
    assert environment.reset(0).shape == (2,)


@pytest.mark.parametrize(
    ("task", "kwargs", "words"),
    [
        (
            "Pendulum-v1",
            {"gravity": 9.8},
            r"^Task 'Pendulum-v1' can't be made: PendulumEnv\.__init__\(\) takes no argument 'gravity'\. Leave it out",
        ),
        (DRAWER, {"goal": 1}, "no argument 'goal'; they take: render_mode"),
    ],
)
def test_unknown_arguments_are_named(task: str, kwargs: dict[str, float], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        envs.make(task, kwargs)


def test_a_wrong_call_within_a_constructor_is_its_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def helper(size: int) -> None: ...

    monkeypatch.setattr(Strange, "__init__", lambda self, **_: helper())
    with pytest.raises(TaskError, match=r"can't be made with .*helper\(\) missing 1 required"):
        envs.make("rlottery-tests/Endless-v0")


def test_arguments_that_a_constructor_needs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def constructor(self: Strange, size: int, *, speed: float, **_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Strange, "__init__", constructor)
    with pytest.raises(TaskError, match=r"can't be made: .*\(\) needs 'size'\. Give it in the task's kwargs: \{id: "):
        envs.make("rlottery-tests/Endless-v0")
    with pytest.raises(TaskError, match=r"needs 'speed'\. "):
        envs.make("rlottery-tests/Endless-v0", {"size": 3})

    def inner(self: Strange, speed: float) -> None:
        {"speed": speed}.pop(key="speed")  # type: ignore[call-overload]

    monkeypatch.setattr(Strange, "__init__", inner)
    with pytest.raises(TaskError, match=r"can't be made with \{'speed': 1\}: TypeError: "):  # its own mistake
        envs.make("rlottery-tests/Endless-v0", {"speed": 1})


def test_missing_metaworld_is_named_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    with pytest.raises(TaskError, match=r"metaworld.*Install the extra: pip install 'rlottery\[metaworld\]'"):
        envs.make(DRAWER)
    with pytest.raises(TaskError, match="Pendulum-v1"):
        envs.make("Pendulm-v1")


class Strict(Target):
    """Turns warnings into errors."""

    def reset(self, **options: Any) -> Any:
        warnings.simplefilter("error")
        return super().reset(**options)

    def step(self, action: np.ndarray) -> Any:
        warnings.filterwarnings("error", "overflow")
        if not action[0] < 0.9:
            raise ValueError("joint 3")
        return super().step(action)


def test_filters_of_warnings_do_not_outlast_a_call() -> None:
    environment, before = envs.Environment("rlottery-tests/Strict-v0", Strict()), list(warnings.filters)
    environment.reset(0)
    assert list(warnings.filters) == before
    environment.step(np.zeros(1))
    assert list(warnings.filters) == before
    with pytest.raises(ValueError, match="joint 3"):
        environment.step(np.ones(1))
    assert list(warnings.filters) == before


def test_an_endless_episode_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlottery.envs.environment.EPISODE_LIMIT", 20)
    endless = envs.make("rlottery-tests/Endless-v0")
    for _ in range(2):
        endless.reset(0)
        for _ in range(19):
            endless.step(np.zeros(1))
    with pytest.raises(
        TaskError, match="Endless-v0: after step 20 of an episode, it still hasn't ended.*max_episode_steps"
    ):
        endless.step(np.zeros(1))


def test_an_episode_may_end_at_the_limit_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlottery.envs.environment.EPISODE_LIMIT", 5)
    environment = envs.Environment("Target", Target(steps=5))
    environment.reset(0)
    assert [environment.step(np.zeros(1)).truncated for _ in range(5)][-1]


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        ((0.0, np.nan), r"the reward is nan"),
        ((0.0, -np.inf), r"the reward is -inf"),
        ((0.0, 1e39), r"the reward is 1e\+39"),
        ((np.nan, 0.0), r"entry 0 of the observation is nan"),
        ((np.inf, 0.0), r"entry 0 of the observation is inf"),
    ],
)
def test_what_is_not_finite_is_named_with_its_step(spoiled: tuple[float, float], words: str) -> None:
    environment = envs.Environment("Target", Target(spoil={3: spoiled}))
    for _ in range(2):
        environment.reset(0)
        environment.step(np.zeros(1))
        environment.step(np.zeros(1))
    with pytest.raises(TaskError, match=f"Target: after step 3 of an episode, {words}, which is not finite"):
        environment.step(np.zeros(1))


def test_a_first_observation_that_is_not_finite_is_named() -> None:
    class Spoiled(Strange):
        def reset(self, **_):  # type: ignore[no-untyped-def]
            return np.array([0, np.nan], np.float32), {}

    with pytest.raises(TaskError, match=r"Spoiled: at reset\(\), entry 1 of the observation is nan"):
        envs.Environment("Spoiled", Spoiled()).reset(0)
