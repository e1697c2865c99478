"""What environments may return, and how everything else is refused. No environment here is made by its id."""

from collections import OrderedDict, UserDict, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from rlottery.envs import Environment
from rlottery.errors import TaskError

Box = spaces.Box
FREE = Box(-np.inf, np.inf, (2,), np.float32)
SEEN = np.array([0.5, -1.0], np.float32)
GOOD: dict[str, Any] = {"observation": SEEN, "reward": 1.0, "terminated": False, "truncated": False, "info": {}}
GOOD_STEP = tuple(GOOD.values())


class Returns(gymnasium.Env[Any, Any]):
    """Returns what it is given: at reset `first`, at each step `step`."""

    def __init__(self, first: Any = (SEEN, {}), step: Any = GOOD_STEP, observation: Any = FREE) -> None:
        self.observation_space, self.action_space = observation, Box(-1, 1, (1,), np.float32)
        self.first, self.returned = first, step

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.first

    def step(self, action: Any) -> Any:
        return self.returned


def stepped(space: Any = FREE, **parts: Any) -> Any:
    """The result of a step of an environment that returns `parts` in place of what is good."""
    first = (np.zeros(space.shape, space.dtype), {})
    good = GOOD | {"observation": first[0]} | parts
    environment = Environment("Case", Returns(first, tuple(good.values()), space))
    environment.reset(0)
    return environment.step(np.zeros(1, np.float32))


def refusal(space: Any = FREE, **parts: Any) -> str:
    """The message for such an environment, without the task and the step, which it starts with."""
    with pytest.raises(TaskError) as caught:
        stepped(space, **parts)
    task, _, text = str(caught.value).partition(", ")
    assert task == "Case: after step 1 of an episode"
    return text


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (FREE, [0.5, -1.0]),
        (FREE, (0.5, -1)),
        (FREE, [np.float64(0.5), np.float32(-1)]),
        (FREE, np.array([0.5, -1.0])),
        (FREE, np.array([0.5, -1.0], np.float16)),
        (FREE, np.array([0.5, -1.0], np.longdouble)),
        (FREE, np.array([0.5, -1.0], ">f4")),
        (FREE, np.array([0.5, 9.0, -1.0])[::2]),
        (FREE, np.array([-1.0, 0.5])[::-1]),
        (FREE, np.broadcast_to(np.float32(0.5), 2)),
        (FREE, jnp.array([0.5, -1.0])),
        (FREE, np.array([3, -1])),
        (FREE, np.array([True, False])),
        (FREE, np.array([np.finfo(np.float32).max, 1e-300])),
        (Box(-1, 1, (2,), np.float64), np.array([0.5, 40.0], np.float32)),  # bounds are not checked
        (Box(-1, 1, (2,), np.float16), np.array([0.5, -1.0], np.float64)),
        (Box(0, 9, (2,), np.uint8), np.array([1, 2], np.int64)),
        (Box(0, 9, (2,), np.uint8), [1, 2]),
        (Box(0, 9, (2,), np.int32), np.array([True, False])),
    ],
)
def test_numbers_of_the_right_shape_are_observations(space: Any, given: Any) -> None:
    for found in (
        stepped(space, observation=given).observation,
        Environment("", Returns((given, {}), 0, space)).reset(0),
    ):
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert found.flags.owndata
        assert np.array_equal(found, np.asarray(given, np.float32))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, "None"),
        (np.zeros(1, np.float32), r"shape \(1,\) and dtype float32"),
        (np.zeros(3), r"shape \(3,\) and dtype float64"),
        (np.zeros(6, np.float32), r"shape \(6,\)"),
        (np.zeros((1, 2), np.float32), r"shape \(1, 2\)"),
        (np.zeros((2, 1), np.float32), r"shape \(2, 1\)"),
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.float32(1), r"shape \(\) and dtype float32"),
        (np.zeros((), np.float32), r"shape \(\)"),
        (1.0, r"1.0 \(of type float\)"),
        ([1.0], r"shape \(1,\)"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        ([[1.0], [1.0, 2.0]], "a list of 2 entries"),
        ([1.0, None], "dtype object"),
        ([1.0, "a"], "dtype <U"),
        (["1", "2"], "dtype <U1"),
        ("12", r"'12' \(of type str\)"),
        (b"12", "of type bytes"),
        ({"a": 1.0, "b": 2.0}, "a dict of 2 entries"),
        ({1.0, 2.0}, "of type set"),
        ((number for number in (1.0, 2.0)), "of type generator"),
        (np.zeros(2, np.complex64), "dtype complex64"),
        (np.array([1.0, 2.0], object), "dtype object"),
        (np.array([1, 2], "m8[s]"), "dtype timedelta64"),
        (np.zeros(2, [("a", "f4")]), "dtype .*'a'"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), r"a masked array of shape \(2,\)"),
        (np.ma.masked_array([1.0, 2.0]), r"a masked array of shape \(2,\)"),
    ],
)
def test_other_observations_are_refused_with_what_they_are(given: Any, shown: str) -> None:
    with pytest.raises(
        TaskError, match=rf"Case: at reset\(\), the observation is .*?{shown}.*has shape \(2,\) and dtype"
    ):
        Environment("Case", Returns((given, {}))).reset(0)
    assert "has shape (2,) and dtype float32" in refusal(observation=given)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("given", [np.ones(2), np.ones(2, np.float16), [1.0, 2.0], [0.5, 1]])
def test_fractions_for_whole_numbers_are_refused(dtype: Any, given: Any) -> None:
    assert f"has shape (2,) and dtype {np.dtype(dtype)}" in refusal(Box(0, 9, (2,), dtype), observation=given)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e39, -1e300, 10**39])
def test_observations_beyond_float32_are_refused(wrong: float) -> None:
    shown = np.array([0, wrong], np.float64)[1]
    assert refusal(observation=[0.5, float(wrong)]).startswith(
        f"entry 1 of the observation is {shown}, which is not fi"
    )
    assert "is not finite" in refusal(observation=np.array([0.5, wrong], np.longdouble))


@pytest.mark.parametrize(
    ("given", "number"),
    [
        *(
            (kind(2), 2.0)
            for kind in (int, float, np.float64, np.float32, np.float16, np.int8, np.uint64, np.longdouble)
        ),
        (np.array(2.0), 2.0),
        (np.array(2, np.int32), 2.0),
        (jnp.float32(2), 2.0),
        (Fraction(1, 4), 0.25),
        (True, 1.0),
        (np.False_, 0.0),
        (np.float32(0.1), float(np.float32(0.1))),
        (0.1, 0.1),
    ],
)
def test_a_reward_is_one_real_number(given: Any, number: float) -> None:
    reward = stepped(reward=given).reward
    assert (type(reward), reward) == (float, number)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (np.zeros(1), r"an array of shape (1,) and dtype float64"),
        (np.zeros((1, 1), np.float32), r"an array of shape (1, 1) and dtype float32"),
        (np.zeros(3), r"an array of shape (3,)"),
        (np.array(1j), "dtype complex128"),
        (np.array("1.0"), "dtype <U3"),
        (np.array(None), "dtype object"),
        (np.ma.masked, "a masked array of shape ()"),
        ([1.0], "a list of 1 entry"),
        ((1.0, 2.0), "a tuple of 2 entries"),
        ({}, "a dict of 0 entries"),
        (None, "None"),
        ("1.0", "'1.0' (of type str)"),
        (1j, "of type complex"),
        (np.complex64(1), "of type complex64"),
        (np.datetime64("2020-01-01"), "of type datetime64"),
        (Decimal(1), "of type Decimal"),
        (lambda: 1.0, "of type function"),
    ],
)
def test_other_rewards_are_refused_with_what_they_are(given: Any, shown: str) -> None:
    message = refusal(reward=given)
    assert message.startswith(f"the reward is {shown}" if shown[0] in "aN'" else "the reward is ")
    assert shown in message
    assert "must be one real number" in message


@pytest.mark.parametrize(
    "given", [np.nan, np.inf, -1e39, 10**400, np.float32("inf"), np.array(np.nan), np.float16("inf")]
)
def test_rewards_beyond_float32_are_refused(given: Any) -> None:
    assert "which is not finite as float32" in refusal(reward=given)


@pytest.mark.parametrize("given", [True, np.True_, np.array(True), jnp.array(True)])
def test_flags_are_bools(given: Any) -> None:
    assert stepped(terminated=given)[2:4] == (True, False)
    assert stepped(truncated=given)[2:4] == (False, True)


@pytest.mark.parametrize("name", ["terminated", "truncated"])
@pytest.mark.parametrize("given", [None, 0, 1, 0.0, "False", np.int8(1), np.array([True]), [], {}, {"TimeLimit": True}])
def test_other_flags_are_refused(name: str, given: Any) -> None:
    message = refusal(**{name: given})
    assert message.startswith(f"{name} is ")
    assert f"must be True or False. Return bool({name})." in message


@pytest.mark.parametrize("key", ["success", "is_success"])
@pytest.mark.parametrize(
    ("given", "success"),
    [
        *(
            (kind(1), True)
            for kind in (bool, int, float, np.bool_, np.float32, np.float64, np.int64, np.array, jnp.array)
        ),
        *(
            (kind(0), False)
            for kind in (bool, int, float, np.bool_, np.float32, np.float64, np.int64, np.array, jnp.array)
        ),
        (np.array(True), True),
        (np.nan, False),
        (np.float32("nan"), False),
    ],
)
def test_success_is_a_bool_or_a_number_that_is_0_or_1(key: str, given: Any, success: bool) -> None:
    assert stepped(info={key: given}).success is success
    assert stepped(info=UserDict({key: given})).success is success


@pytest.mark.parametrize("key", ["success", "is_success"])
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (0.5, "0.5 (of type float)"),
        (np.float32(0.99), "np.float32(0.99) (of type float32)"),
        (2, "2 (of type int)"),
        (-1, "-1 (of type int)"),
        (np.inf, "inf (of type float)"),
        ("True", "'True' (of type str)"),
        ("", "'' (of type str)"),
        (np.array([1.0]), "an array of shape (1,)"),
        (np.array([True, False]), "an array of shape (2,)"),
        ([], "a list of 0 entries"),
        ({"a": True}, "a dict of 1 entry"),
        (np.ma.masked, "a masked array"),
        (1j, "of type complex"),
    ],
)
def test_other_successes_are_refused_with_what_they_are(key: str, given: Any, shown: str) -> None:
    message = refusal(info={key: given})
    assert message.startswith(f"info['{key}'] is ")
    assert shown in message
    assert "True or False, or the number 0 or 1" in message


def test_the_key_that_success_was_read_from_is_remembered() -> None:
    raw = Returns()
    environment = Environment("", raw)
    environment.reset(0)
    found = []
    for info in ({}, {"success": None}, {"is_success": 1}, {"success": 0, "is_success": 1}, {"success": None}, {}):
        raw.returned = tuple((GOOD | {"info": info}).values())
        found.append((environment.step(np.zeros(1)).success, environment.success_key))
    assert found == [
        *[(None, None)] * 2,
        (True, "is_success"),
        (False, "success"),
        *[(None, "success")] * 2,
    ]


TimeStep = namedtuple("TimeStep", "step_type reward discount observation")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (SEEN, "old Gym interface: reset.. returned the observation alone .an array of shape .2,. and dtype float32"),
        ([0.5, -1.0], "old Gym interface: reset.. returned the observation alone .a list of 2 entries"),
        ([SEEN, {}], "old Gym interface"),
        ({"observation": SEEN, "info": {}}, "old Gym interface.*a dict of 2 entries"),
        (None, "old Gym interface.*None"),
        ((SEEN,), "doesn't have Gymnasium's interface: reset.. returned a tuple of 1 entry"),
        ((SEEN, {}, {}), "doesn't have Gymnasium's interface: reset.. returned a tuple of 3 entries"),
        ((0.5, -1.0), "the second value that reset.. returned is -1.0 .of type float., not a dict"),
        ((SEEN, None), "the second value that reset.. returned is None, not a dict"),
        ((SEEN, []), "the second value that reset.. returned is a list of 0 entries, not a dict"),
        (TimeStep(0, None, None, SEEN), "doesn't have Gymnasium's interface: reset.. returned a TimeStep of 4 entries"),
    ],
)
def test_reset_returns_an_observation_and_an_info(first: Any, words: str) -> None:
    with pytest.raises(TaskError, match=rf"Case: at reset\(\), the environment .*{words}") as caught:
        Environment("Case", Returns(first)).reset(0)
    assert "reset(self, *, seed=None, options=None) returns (observation, info)" in str(caught.value)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ((SEEN, 1.0, False, {}), "old Gym interface: step() returned four values"),
        (TimeStep(1, 0.0, 1.0, SEEN), "old Gym interface: step() returned four values"),
        ((SEEN, 1.0, False), "doesn't have Gymnasium's interface: step() returned a tuple of 3 entries"),
        ([SEEN, 1.0, False, False, {}], "doesn't have Gymnasium's interface: step() returned a list of 5 entries"),
        ((SEEN, 1.0, False, False, {}, 0), "doesn't have Gymnasium's interface: step() returned a tuple of 6 entries"),
        ((SEEN, 1.0, False, False, None), "the last value that step() returned is None, not a dict"),
        ((SEEN, 1.0, False, {}, False), "the last value that step() returned is False (of type bool), not a dict"),
        (None, "doesn't have Gymnasium's interface: step() returned None"),
        (SEEN, "doesn't have Gymnasium's interface: step() returned an array of shape (2,)"),
    ],
)
def test_step_returns_five_values(returned: Any, words: str) -> None:
    environment = Environment("Case", Returns(step=returned))
    environment.reset(0)
    with pytest.raises(TaskError) as caught:
        environment.step(np.zeros(1))
    assert str(caught.value).startswith("Case: after step 1 of an episode, the environment ")
    assert words in str(caught.value)
    assert "returns (observation, reward, terminated, truncated, info), where info is a dict" in str(caught.value)


def test_named_tuples_and_other_mappings_are_fine() -> None:
    result = namedtuple("Result", GOOD)(**GOOD | {"info": OrderedDict(success=True)})
    environment = Environment("", Returns((SEEN, UserDict()), result))
    assert np.array_equal(environment.reset(0), SEEN)
    assert environment.step(np.zeros(1)).success


class TakesNoSeed(Returns):
    def reset(self) -> Any:  # type: ignore[override]
        return SEEN


class TakesSeedAlone(Returns):
    def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
        return SEEN, {}


class ReadsBoth(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Unpacks what the environment inside returns, as wrappers do."""

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, info

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, info


def layers(raw: Any) -> list[Any]:
    """An environment as Gymnasium's and other wrappers wrap it."""
    order = gymnasium.wrappers.OrderEnforcing(raw)
    return [order, ReadsBoth(raw), gymnasium.wrappers.TimeLimit(order, 9), ReadsBoth(ReadsBoth(order))]


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize("kind", [TakesNoSeed, TakesSeedAlone])
def test_a_reset_that_takes_no_seed_and_options_is_the_old_interface(kind: Any, layer: int) -> None:
    env = layers(kind())[layer]
    if kind is TakesSeedAlone and layer == 1:
        env.reset(seed=1)  # nothing passes options to it
        return
    with pytest.raises(
        TaskError, match=rf"old Gym interface: {kind.__name__}.reset\(\) doesn't take .* seed and options"
    ):
        Environment("Case", env).reset(0)


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize("first", [np.zeros(3), np.zeros(2), None, 0.5])
def test_an_old_reset_behind_wrappers_is_the_old_interface(first: Any, layer: int) -> None:
    with pytest.raises(TaskError, match=r"Case: .*interface.*reset\(self, \*, seed=None, options=None\) returns"):
        Environment("Case", layers(Returns(first))[layer]).reset(0)


@pytest.mark.parametrize("layer", range(4))
def test_an_old_step_behind_wrappers_is_the_old_interface(layer: int) -> None:
    environment = Environment("Case", layers(Returns(step=(SEEN, 1.0, False, {})))[layer])
    environment.reset(0)
    with pytest.raises(TaskError, match="Case: .*old Gym interface.*truncated, info"):
        environment.step(np.zeros(1))


@pytest.mark.parametrize(
    "error", [TypeError("1 + None"), ValueError("not enough values to unpack (expected 5, got 4)")]
)
def test_other_errors_of_an_environment_stay_what_they_are(error: Exception) -> None:
    class Raises(Returns):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            if seed:
                raise error
            return SEEN, {}

        def step(self, action: Any) -> Any:
            raise error

    for env in layers(Raises()):
        environment = Environment("Case", env)
        with pytest.raises(type(error)) as caught:
            environment.reset(1)
        assert caught.value is error
        environment.reset(0)
        with pytest.raises(type(error)) as caught:
            environment.step(np.zeros(1))
        assert caught.value is error


@pytest.mark.parametrize("action", [np.zeros(2), np.zeros(0), np.zeros((1, 1)), 0.0])
def test_actions_of_another_shape_are_refused(action: Any) -> None:
    environment = Environment("Case", Returns())
    environment.reset(0)
    with pytest.raises(ValueError, match=r"actions of Case have the shape \(1,\), not"):
        environment.step(action)


def test_the_checks_do_not_depend_on_numpys_error_state() -> None:
    with np.errstate(all="raise"):
        assert "is not finite as float32" in refusal(observation=[1e300, 0.0])
        assert list(stepped(observation=[1e-300, 0.0]).observation) == [0.0, 0.0]
