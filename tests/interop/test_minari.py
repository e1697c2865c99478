"""Minari datasets as replay: episodes end where they ended, and what is written is read back."""

from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from minari.data_collector.episode_buffer import EpisodeBuffer

from rlottery import envs
from rlottery.errors import StudyError
from rlottery.interop.minari import episodes_in, read_dataset
from rlottery.storage.transitions import Transitions

NAME = "rlottery/tests/made-v0"


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets of this test alone."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def walk(steps: int, lengths: int, terminates: bool = False) -> list[tuple[float, ...]]:
    """Observation, action, reward, next observation and termination of each step; an episode has `lengths` steps."""
    rows = []
    for step in range(steps):
        episode, at = divmod(step, lengths)
        last = at == lengths - 1
        rows.append((100.0 * episode + at, 0.1 * at, step, 100.0 * episode + at + 1, float(terminates and last)))
    return rows


def buffer(rows: list[tuple[float, ...]], capacity: int, ends: list[float] | None = None) -> Transitions:
    """What a replay buffer of this capacity holds after these steps, in the order of its rows."""
    kept: list[Any] = [None] * min(len(rows), capacity)
    for index, row in enumerate(rows):
        kept[index % capacity] = (*row, 0.0 if ends is None else ends[index])
    table = np.array(kept, np.float32)
    observations, actions, rewards, following, terminations, over = table.T
    pairs = (observations[:, None], actions[:, None], rewards, following[:, None], terminations)
    return Transitions(*pairs, *([] if ends is None else [over]))


def rewards_of(stored: Transitions, steps: int, environments: int = 1) -> list[list[int]]:
    """The rewards of each episode. A step's reward is its number."""
    return [episode.rewards.astype(int).tolist() for episode in episodes_in(stored, steps, environments)]


class TestEpisodes:
    @pytest.mark.parametrize("terminates", [False, True])
    def test_end_by_termination_or_a_time_limit(self, terminates: bool) -> None:
        assert rewards_of(buffer(walk(8, 3, terminates), 100), 8) == [[0, 1, 2], [3, 4, 5], [6, 7]]

    def test_begin_late_once_the_buffer_has_wrapped_around(self) -> None:
        assert rewards_of(buffer(walk(11, 4), 6), 11) == [[5, 6, 7], [8, 9, 10]]

    def test_of_several_environments_are_told_apart(self) -> None:
        one, other = walk(5, 3), [(row[0] + 1e4, *row[1:3], row[3] + 1e4, row[4]) for row in walk(5, 2)]
        rows = [row for pair in zip(one, other, strict=True) for row in pair]
        numbered = [(*row[:2], index, *row[3:]) for index, row in enumerate(rows)]
        whole = [[0, 2, 4], [6, 8], [1, 3], [5, 7], [9]]
        assert rewards_of(buffer(numbered, 100), 10, 2) == whole
        assert rewards_of(buffer(numbered, 7), 10, 2) == [[4], [6, 8], [5, 7], [9]]

    def test_end_where_the_buffer_says_so_though_nothing_moved(self) -> None:
        still = [(1.0, 0.0, float(step), 1.0, 0.0) for step in range(4)]
        assert rewards_of(buffer(still, 100, ends=[0.0, 1.0, 0.0, 0.0]), 4) == [[0, 1], [2, 3]]


def make(
    observations: Any, actions: Any, space: gymnasium.Space[Any], seen: gymnasium.Space[Any] | None = None
) -> None:
    """A dataset of one episode, which no time limit ended."""
    steps = len(actions)
    episode = EpisodeBuffer(
        observations=np.asarray(observations),
        actions=np.asarray(actions),
        rewards=np.arange(steps, dtype=np.float64),
        terminations=np.arange(steps) == steps,
        truncations=np.arange(steps) == steps,
    )
    with pytest.warns(UserWarning):
        minari.create_dataset_from_buffers(
            NAME, [episode], action_space=space, observation_space=seen or gymnasium.spaces.Box(-9, 9, (3,), np.float64)
        )


def test_a_dataset_in_the_tasks_own_actions() -> None:
    pendulum = envs.make("Pendulum-v1")
    make(np.arange(9.0).reshape(3, 3), [[-2.0], [1.0]], gymnasium.spaces.Box(-2, 2, (1,)))
    read = read_dataset(NAME, "Pendulum-v1", 3, pendulum.actions)
    np.testing.assert_array_equal(read.observations, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(read.next_observations, [[3, 4, 5], [6, 7, 8]])
    np.testing.assert_array_equal(read.actions, [[-1.0], [0.5]])
    np.testing.assert_array_equal(read.ends, [0, 1])
    assert not read.terminations.any() and read.rewards.tolist() == [0, 1]
    assert {field.dtype for field in read.fields.values()} == {np.dtype(np.float32)}


def test_discrete_actions_are_one_hot() -> None:
    seen = gymnasium.spaces.Box(-9, 9, (4,), np.float64)
    make(np.zeros((3, 4)), [1, 0], gymnasium.spaces.Discrete(2), seen)
    np.testing.assert_array_equal(
        read_dataset(NAME, "CartPole-v1", 4, envs.make("CartPole-v1").actions).actions, [[0, 1], [1, 0]]
    )


@pytest.mark.parametrize(
    ("size", "task", "action_space", "words"),
    [
        (4, "Pendulum-v1", gymnasium.spaces.Box(-2, 2, (1,)), "flat vectors of 4 entries"),
        (3, "Pendulum-v1", gymnasium.spaces.Box(-1, 1, (1,)), r"vectors between \[-2.0\] and \[2.0\]"),
        (3, "CartPole-v1", gymnasium.spaces.Box(-2, 2, (1,)), "2 discrete actions from 0 on"),
    ],
)
def test_a_dataset_of_another_space(size: int, task: str, action_space: gymnasium.Space[Any], words: str) -> None:
    make(np.zeros((3, 3)), np.zeros((2, 1), np.float32), action_space)
    with pytest.raises(StudyError, match=words):
        read_dataset(NAME, task, size, envs.make(task).actions)


def test_values_that_are_not_finite() -> None:
    make(np.full((3, 3), np.nan), np.zeros((2, 1), np.float32), gymnasium.spaces.Box(-2, 2, (1,)))
    with pytest.raises(StudyError, match="has observations that are not finite"):
        read_dataset(NAME, "Pendulum-v1", 3, envs.make("Pendulum-v1").actions)


def test_a_dataset_that_is_not_here_or_damaged(tmp_path: Path) -> None:
    actions = envs.make("Pendulum-v1").actions
    with pytest.raises(StudyError, match=f"To get it: minari download {NAME}"):
        read_dataset(NAME, "Pendulum-v1", 3, actions)
    make(np.zeros((3, 3)), np.zeros((2, 1), np.float32), gymnasium.spaces.Box(-2, 2, (1,)))
    (file,) = (tmp_path / "datasets").rglob("*.hdf5")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(StudyError, match="Minari can't read the"):
        read_dataset(NAME, "Pendulum-v1", 3, actions)
