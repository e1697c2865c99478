"""MinAtar's games as tasks: seeds decide everything, and the library's own quirks don't show."""

import sys

import numpy as np
import pytest

from rlottery import envs
from rlottery.config import Task
from rlottery.envs.rendering import Stage
from rlottery.envs.trial import try_task
from rlottery.errors import TaskError

GAMES = {
    "Asterix": (400, 5),
    "Breakout": (400, 3),
    "Freeway": (700, 3),
    "Seaquest": (1000, 6),
    "SpaceInvaders": (600, 4),
}


@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_a_task_that_keeps_its_promises(game: str) -> None:
    """Also that an episode doesn't depend on earlier ones, as the library's last action does."""
    task = f"MinAtar/{game}-v1"
    found = try_task(task, {})
    assert (found["observation_size"], found["action_size"]) == GAMES[game]
    assert found["discrete"] and found["deviations"] == {}
    environment = envs.make(task)
    channels = environment.unwrapped.game.env.channels
    names = envs.observation_names(task)
    assert names is not None and len(names) == GAMES[game][0]
    observation = environment.reset(2**63 + 5)
    assert set(np.unique(observation)) == {0, 1}
    state = environment.unwrapped.game.state()
    for row, column, channel in zip(*np.nonzero(state), strict=True):
        place = (row * 10 + column) * len(channels) + channel
        assert observation[place] == 1 and names[place].endswith(f" {row},{column}")
    first = [name.rpartition(" ")[0] for name in names[: len(channels)]]
    # The library's own names, where they are whole words: it has "sub_front" and "oxygen_guage".
    same = [name.replace("_", " ") for name in channels if not name.startswith(("sub", "speed")) and "_g" not in name]
    assert [name for name in first if name in same] == [name for name in same if name in first] != []


def test_episodes_have_a_time_limit_and_sticky_actions_follow_from_the_seed() -> None:
    def rewards(seed: int) -> list[float]:
        environment = envs.make("MinAtar/Asterix-v1", {"max_episode_steps": 60, "sticky_action_prob": 0.5})
        environment.reset(seed)
        actions = environment.actions.random(np.random.default_rng(1), 60)
        steps = []
        for action in actions:
            steps.append(environment.step(action))
            if steps[-1].over:
                break
        return [float(step.observation @ np.arange(400)) for step in steps]

    assert rewards(2**40) == rewards(2**40) != rewards(2**40 + 2**32)
    environment = envs.make("MinAtar/Freeway-v1", {"max_episode_steps": 7})
    environment.reset(0)
    still = np.array([1, 0, 0], np.float32)
    steps = [environment.step(still) for _ in range(7)]
    assert [step.truncated for step in steps] == [False] * 6 + [True]


def test_a_picture_is_one() -> None:
    stage = Stage(Task(id="MinAtar/Breakout-v1"), (320, 320))
    stage.environment.reset(0)
    picture = stage.picture()
    assert picture.shape == (320, 320, 3) and picture.dtype == np.uint8
    # Three rows of bricks, the ball and the paddle, each cell in one colour.
    cells = picture.reshape(10, 32, 10, 32, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    lit = cells[:, 0, :, 0].any(axis=-1)
    assert lit[1:4].all() and lit[9].sum() == 1 and lit[3:9].sum() >= 1
    stage.close()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minatar.gym", None)
    with pytest.raises(TaskError, match=r"MinAtar's tasks need .* pip install 'rlottery\[minatar\]'"):
        envs.make("MinAtar/Breakout-v1")


@pytest.mark.parametrize(("task", "similar"), [("MinAtar/Breakot-v1", "Breakout-v1"), ("MinAtar/Pong-v1", "MinAtar/")])
def test_an_unknown_game(task: str, similar: str) -> None:
    with pytest.raises(TaskError, match=f"Unknown task '{task}'.*{similar}"):
        envs.make(task)
