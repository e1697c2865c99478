from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rlottery.envs import Environment
from rlottery.errors import TaskError
from rlottery.storage.transitions import one_hot
from tests.environments import Strange

Box = spaces.Box
BIG = float(np.finfo(np.float32).max)


class Recorder(Strange):
    """Keeps the actions that it gets."""

    taken: list[np.ndarray]

    def step(self, action: np.ndarray) -> Any:
        self.taken.append(action)
        return super().step(action)


def taken(box: Box, *actions: Any) -> list[np.ndarray]:
    """The task's own actions for some in [-1, 1]."""
    raw = Recorder(action=box)
    raw.taken = []
    environment = Environment("", raw)
    environment.reset(0)
    for action in actions:
        environment.step(np.broadcast_to(np.asarray(action), box.shape))
    return raw.taken


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_every_action_lies_in_the_tasks_space_at_its_place_between_the_bounds(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = rng.integers(1, 4)
        ends = rng.uniform(-1, 1, (2, size)) * 10 ** rng.uniform(-3, 4 if dtype is np.float16 else 30, (2, size))
        low, high = np.sort(ends.astype(dtype), axis=0)
        box = Box(low, high, (size,), dtype)
        within = rng.uniform(-1, 1, size).astype(np.float32)
        for chosen in (-1.0, 1.0, -1.5, 1.5, 0.0, np.nextafter(np.float32(1), np.float32(0)), within):
            (action,) = taken(box, chosen)
            assert box.contains(action), f"{action!r} is not between {low!r} and {high!r}"
            assert action.dtype == box.dtype
            share = (np.clip(chosen, -1, 1) + 1) / 2
            tolerance = 4 * float(np.finfo(np.float16 if dtype is np.float16 else np.float32).eps)
            expected = low.astype(np.float64) * (1 - share) + high.astype(np.float64) * share
            assert (abs(action - expected) <= tolerance * np.maximum(abs(low), abs(high)).astype(np.float64)).all()


@given(st.floats(-1, 1, width=32))
def test_actions_of_float32_tasks_are_those_of_earlier_versions(action: float) -> None:
    low, high = np.array([-0.4, -1, 0, -2], np.float32), np.array([0.8, 1, 3, 2], np.float32)
    given = np.full(4, action, np.float32)
    before = low + (np.clip(given, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
    assert taken(Box(low, high), given)[0].tobytes() == np.clip(before, low, high).tobytes()


def test_one_fixed_entry_is_no_fault() -> None:
    box = Box(np.array([0.1, -1.0]), np.array([0.1, 1.0]), dtype=np.float64)
    assert [list(action) for action in taken(box, -1, 1)] == [[0.1, -1.0], [0.1, 1.0]]


def edited(low: Any = -1.0, high: Any = 1.0) -> Box:
    """A space whose bounds have been changed since it was made, past the checks of its constructor."""
    box = Box(-1.0, 1.0, (2,))
    box.low, box.high = np.array([-1.0, low], np.float32), np.array([1.0, high], np.float32)
    return box


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(-1.0, 1.0, (0,)), "actions have no entries .* nothing to act on. Declare"),
        (Box(0.5, 0.5, (3,)), "the bounds of each action are equal .* nothing to act on. Declare"),
        (
            Box(-BIG, BIG, (2,)),
            r"too far apart for float32 in entry 0 .*\(-3.4028234663852886e\+38 to .* Declare the range",
        ),
        (Box(np.array([-1.0, -BIG]), np.array([1.0, 1e38]), dtype=np.float64), "too far apart for float32 in entry 1"),
        (Box(-1e39, 1e39, (1,), np.float64), "too far apart for float32"),
        (Box(1e39, 2e39, (1,), np.float64), "too far apart for float32"),
        (Box(0.0, 1.7e308, (1,), np.float64), "too far apart for float32"),
        (Box(-1e-60, 1e-60, (1,), np.float64), "too close together for float32"),
        (Box(np.array([-1.0, 1.0]), np.array([1.0, 1 + 1e-12]), dtype=np.float64), "too close together .* entry 1"),
        (Box(-np.inf, np.inf, (1,)), "flat, bounded Box of floats.*TransformAction"),
        (Box(0.0, np.inf, (1,)), "flat, bounded Box of floats"),
        (Box(-np.inf, 0.0, (1,), np.float16), "flat, bounded Box of floats"),
        (Box(0, 9, (2,), np.int64), "flat, bounded Box of floats, but they are .*int64"),
        (Box(-1.0, 1.0, ()), "flat, bounded Box of floats"),
        (Box(-1.0, 1.0, (2, 1)), "flat, bounded Box of floats"),
        (edited(low=2.0), r"the lower bound is above the upper bound in entry 1 of the actions \(2.0 to 1.0\). Swap"),
        (edited(low=np.nan), "flat, bounded Box of floats"),
        (edited(high=np.inf), "flat, bounded Box of floats"),
        (spaces.Discrete(1, start=4), "only one action .*nothing to choose"),
        (spaces.Discrete(65_537), "65,537 actions .*at most 65,536"),
        (spaces.MultiDiscrete([2, 3]), "MultiDiscrete actions .*or a Discrete space.*TransformAction"),
        (spaces.MultiBinary(3), "MultiBinary actions .*or a Discrete space"),
        (spaces.Dict(a=Box(-1.0, 1.0, (1,))), "Dict actions .*a flat, bounded Box of floats, or a Discrete space"),
    ],
)
def test_actions_that_agents_cannot_choose_are_refused(box: Any, words: str) -> None:
    with pytest.raises(TaskError, match=f"Case.*{words}"):
        Environment("Case", Strange(action=box))


@pytest.mark.parametrize("dtype", [np.int64, np.int8])
@pytest.mark.parametrize("first", [0, 7, -3])
def test_a_discrete_task_gets_its_own_integers(first: int, dtype: Any) -> None:
    space = spaces.Discrete(3, start=first, dtype=dtype)
    raw = Recorder(action=space)
    raw.taken = []
    environment = Environment("", raw)
    assert environment.discrete and environment.action_size == 3
    environment.reset(0)
    for vector in ([0, 0, 1], [1, 0, 0], [-2.5, -0.5, -1]):
        environment.step(np.array(vector, np.float32))
    assert raw.taken == [first + 2, first, first + 1]
    assert all(space.contains(action) and type(action) is type(space.sample()) for action in raw.taken)
    with pytest.raises(ValueError, match=r"actions of .* have the shape \(3,\), not \(\)"):
        environment.step(np.array(1))


def test_random_discrete_actions_are_one_hot_and_uniform() -> None:
    actions = Environment("", Strange(action=spaces.Discrete(5, start=2))).actions
    drawn = actions.random(np.random.default_rng(0), 10_000)
    assert drawn.dtype == np.float32 and drawn.shape == (10_000, 5)
    assert set(np.unique(drawn)) == {0, 1} and (drawn.sum(1) == 1).all()
    np.testing.assert_allclose(drawn.mean(0), 0.2, atol=0.02)


def test_many_discrete_actions_take_no_more_memory_than_their_vectors() -> None:
    many = 1_000_000  # a matrix of all their vectors would take 4 TB
    assert one_hot(np.array(3), many).nonzero()[0].tolist() == [3]
    assert one_hot(np.array([5, 3]), many).argmax(1).tolist() == [5, 3]


@pytest.mark.parametrize("bounds", [(-1e38, 1e38), (0.0, BIG), (1e-30, 2e-30), (-BIG, 0.0)])
def test_wide_and_narrow_bounds_within_float32_are_fine(bounds: tuple[float, float]) -> None:
    box = Box(*bounds, (1,))
    assert [float(action[0]) for action in taken(box, -1, 1)] == [box.low[0], box.high[0]]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Box(-1.0, 1.0, (0,)), "observations have no entries .* nothing to see. Declare"),
        (Box(-1.0, 1.0, ()), "Box as observations.*FlattenObservation"),
        (Box(-1.0, 1.0, (2, 3)), "images or another grid"),
        (spaces.Discrete(3), "Discrete as observations.*FlattenObservation"),
        (spaces.Tuple([Box(-1.0, 1.0, (2,))]), "Tuple as observations.*FlattenObservation"),
    ],
)
def test_observations_that_agents_cannot_read_are_refused(space: Any, words: str) -> None:
    with pytest.raises(TaskError, match=f"Case.*{words}"):
        Environment("Case", Strange(observation=space))


@pytest.mark.parametrize("name", ["observation_space", "action_space"])
@pytest.mark.parametrize(
    ("given", "words"), [(None, "is missing"), ((2,), "is a builtins.tuple"), (Box, "is a builtins.type")]
)
def test_a_space_that_is_none_of_gymnasiums_is_named(name: str, given: Any, words: str) -> None:
    raw = Strange()
    setattr(raw, name, given)
    with pytest.raises(
        TaskError, match=f"Case: its {name} {words}, but it must be a space of Gymnasium. Set self.{name}"
    ):
        Environment("Case", raw)
    delattr(raw, name)
    with pytest.raises(TaskError, match=f"Case: its {name} is missing"):
        Environment("Case", raw)
