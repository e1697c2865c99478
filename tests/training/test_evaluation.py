from collections.abc import Callable

import numpy as np
import pytest

from rlottery.envs import Environment, Step
from rlottery.training.evaluation import evaluate
from tests.environments import Target


class Scripted:
    """Plays a script of steps for every seed: (reward, terminated, truncated, success)."""

    def __init__(self, scripts: dict[int, list[tuple[float, bool, bool, bool | None]]]) -> None:
        self._scripts = scripts

    def reset(self, seed: int) -> np.ndarray:
        self._steps = iter(self._scripts[seed])
        return np.zeros(1, np.float32)

    def step(self, action: np.ndarray) -> Step:
        return Step(np.zeros(1, np.float32), *next(self._steps))


def still(observation: np.ndarray) -> np.ndarray:
    return np.zeros(1, np.float32)


def test_returns_and_lengths_by_hand() -> None:
    environment = Scripted(
        {
            4: [(1.0, False, False, None), (2.5, True, False, None)],
            1: [(-1.0, False, True, None)],
            9: [(0.5, False, False, None)] * 3 + [(0.5, False, True, None)],
        }
    )
    result = evaluate(still, environment, [4, 1, 9])  # type: ignore[arg-type]
    assert result == ([3.5, -1.0, 2.0], [2, 1, 4], None)


@pytest.mark.parametrize(
    ("successes", "succeeded"),
    [([True, False, False], 1.0), ([False, True, False], 1.0), ([False, False, True], 1.0), ([False] * 3, 0.0)],
)
def test_success_at_any_step_counts_and_ends_nothing(successes: list[bool], succeeded: float) -> None:
    script = [(1.0, False, index == 2, success) for index, success in enumerate(successes)]
    result = evaluate(still, Scripted({0: script}), [0])  # type: ignore[arg-type]
    assert result == ([3.0], [3], [succeeded])


def test_one_episodes_success_is_not_the_nexts() -> None:
    environment = Scripted({0: [(0.0, False, True, True)], 1: [(0.0, False, True, False)]})
    assert evaluate(still, environment, [0, 1, 0]).successes == [1.0, 0.0, 1.0]  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_an_episode_that_says_nothing_of_success_is_none(order: list[int]) -> None:
    environment = Scripted({0: [(0.0, False, True, True)], 1: [(0.0, False, True, None)]})
    expected = [1.0 if seed == 0 else 0.0 for seed in order]
    assert evaluate(still, environment, order).successes == expected  # type: ignore[arg-type]


def policy(weight: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda observation: np.tanh(weight * observation[:1])


def test_a_deterministic_policy_scores_the_same_each_time() -> None:
    raw = Target()
    environment = Environment("Target", raw)
    first, second = (evaluate(policy(2.0), environment, [3, 1, 4]) for _ in range(2))
    assert first == second
    assert len(set(first.returns)) == 3
    assert raw.seeds == [3, 1, 4] * 2


def test_the_policy_sees_the_newest_observation() -> None:
    seen: list[float] = []

    def watch(observation: np.ndarray) -> np.ndarray:
        seen.append(float(observation[1]))
        return np.zeros(1, np.float32)

    result = evaluate(watch, Environment("Target", Target(steps=3)), [0, 1])
    assert seen == [0.0, 1.0, 2.0] * 2
    assert result.returns == pytest.approx([-0.75, -0.75])
