from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlottery.envs import Environment, Step
from rlottery.training.evaluation import ChooseAction, EpisodeResults, evaluate
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


def evaluated(choose: ChooseAction, environments: Any, seeds: list[int]) -> EpisodeResults:
    """With one environment, or with a list of them."""
    made = environments if isinstance(environments, list) else [environments]
    return evaluate(lambda observations: np.stack([choose(one) for one in observations]), made, seeds)


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
    result = evaluated(still, environment, [4, 1, 9])
    assert result == ([3.5, -1.0, 2.0], [2, 1, 4], None)


@pytest.mark.parametrize(
    ("successes", "succeeded"),
    [([True, False, False], 1.0), ([False, True, False], 1.0), ([False, False, True], 1.0), ([False] * 3, 0.0)],
)
def test_success_at_any_step_counts_and_ends_nothing(successes: list[bool], succeeded: float) -> None:
    script = [(1.0, False, index == 2, success) for index, success in enumerate(successes)]
    result = evaluated(still, Scripted({0: script}), [0])
    assert result == ([3.0], [3], [succeeded])


def test_one_episodes_success_is_not_the_nexts() -> None:
    environment = Scripted({0: [(0.0, False, True, True)], 1: [(0.0, False, True, False)]})
    assert evaluated(still, environment, [0, 1, 0]).successes == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_an_episode_that_says_nothing_of_success_is_none(order: list[int]) -> None:
    environment = Scripted({0: [(0.0, False, True, True)], 1: [(0.0, False, True, None)]})
    expected = [1.0 if seed == 0 else 0.0 for seed in order]
    assert evaluated(still, environment, order).successes == expected


def policy(weight: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda observation: np.tanh(weight * observation[:1])


def test_a_deterministic_policy_scores_the_same_each_time() -> None:
    raw = Target()
    environment = Environment("Target", raw)
    first, second = (evaluated(policy(2.0), environment, [3, 1, 4]) for _ in range(2))
    assert first == second
    assert len(set(first.returns)) == 3
    assert raw.seeds == [3, 1, 4] * 2


def test_the_policy_sees_the_newest_observation() -> None:
    seen: list[float] = []

    def watch(observation: np.ndarray) -> np.ndarray:
        seen.append(float(observation[1]))
        return np.zeros(1, np.float32)

    result = evaluated(watch, Environment("Target", Target(steps=3)), [0, 1])
    assert seen == [0.0, 1.0, 2.0] * 2
    assert result.returns == pytest.approx([-0.75, -0.75])


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_episodes_at_the_same_time_are_those_one_after_another(number: int) -> None:
    """Episodes of random lengths that follow from the seed, with success in some, in more or fewer environments."""
    sizes: list[int] = []

    class Varied(Target):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
            observation, info = super().reset(seed=seed)
            self._steps = int(self.np_random.integers(1, 9))
            return observation, info

    def watched(observations: np.ndarray) -> np.ndarray:
        sizes.append(len(observations))
        return np.stack([np.tanh(3 * one[:1] + one[1:]) for one in observations])

    seeds = [3, 1, 4, 1, 5, 9, 2]
    one_by_one = evaluated(lambda o: np.tanh(3 * o[:1] + o[1:]), Environment("Target", Varied(success_at=6)), seeds)
    together = evaluate(watched, [Environment("Target", Varied(success_at=6)) for _ in range(number)], seeds)
    assert together == one_by_one
    assert len(set(one_by_one.lengths)) > 3 and set(one_by_one.successes or []) == {0.0, 1.0}
    assert max(sizes) == number and sum(sizes) == sum(one_by_one.lengths)
