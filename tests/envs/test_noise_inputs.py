from typing import Any
from unittest.mock import MagicMock

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rlottery import envs
from rlottery.config import Task
from rlottery.envs.rendering import Stage, _set_up_camera
from rlottery.envs.trial import try_task
from rlottery.errors import TaskError
from tests.environments import Target


class Shown(Target):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((8, 8, 3), 9, np.uint8)


gymnasium.register("rlottery-tests/Shown-v0", entry_point=Shown)


def observations(task: str, seed: int, steps: int, action: float = 0.0, **kwargs: Any) -> NDArray[np.float32]:
    """The observations of an episode's start, (steps + 1, obs)."""
    environment = envs.make(task, kwargs)
    seen = [environment.reset(seed)]
    seen += [environment.step(np.full(environment.action_size, action)).observation for _ in range(steps)]
    environment.close()
    return np.array(seen)


@pytest.mark.parametrize(
    ("task", "kwargs"),
    [("Pendulum-v1", {"g": 3.0}), ("reach-v3", {}), ("tests.environments:rlottery-tests/Target-v0", {})],
)
def test_the_tasks_own_part_stays_what_it_is_to_the_bit(task: str, kwargs: dict[str, Any]) -> None:
    noisy, own = envs.make(f"{task}+noise7", kwargs), envs.make(task, kwargs)
    assert noisy.observation_size == own.observation_size + 7
    assert noisy.reset(11)[:-7].tobytes() == own.reset(11).tobytes()
    for action in np.random.default_rng(0).uniform(-1, 1, (4, own.action_size)):
        ours, theirs = noisy.step(action), own.step(action)
        assert ours.observation.dtype == np.float32 and ours.observation.shape == (own.observation_size + 7,)
        assert ours.observation[:-7].tobytes() == theirs.observation.tobytes()
        assert ours[1:] == theirs[1:]
    assert noisy.success_key == own.success_key
    assert envs.is_metaworld(f"{task}+noise7") == (task == "reach-v3")


def test_noise_is_standard_normal_and_independent() -> None:
    """Entries, steps and episodes: no two are alike, and none are correlated."""
    one, other = (observations("Pendulum-v1+noise100", seed, 199)[:, 3:] for seed in (1, 2))
    both = np.stack([one, other])
    assert stats.kstest(both.ravel(), "norm").pvalue > 0.01
    assert len(np.unique(both)) > 0.99 * both.size
    for correlation in (
        stats.pearsonr(one.ravel(), other.ravel()),
        stats.pearsonr(both[:, 1:].ravel(), both[:, :-1].ravel()),
        stats.pearsonr(both[:, :, 1:].ravel(), both[:, :, :-1].ravel()),
    ):
        assert correlation.pvalue > 0.01


def test_noise_follows_from_the_seed_alone() -> None:
    first = observations("Pendulum-v1+noise5", 3, 10, action=0.0)
    assert np.array_equal(observations("Pendulum-v1+noise5", 3, 10, action=0.5)[:, 3:], first[:, 3:])
    assert np.array_equal(observations("Pendulum-v1+noise5", 3, 10), first)


@pytest.mark.parametrize("task", ["Pendulum-v1+noise50", "tests.environments:rlottery-tests/Target-v0+noise3"])
def test_a_trial_finds_no_deviation(task: str) -> None:
    trial = try_task(task, {})
    assert trial["deviations"] == {} and trial["notes"] == []
    assert trial["observation_size"] == (53 if "Pendulum" in task else 5)


def test_what_the_environment_returns_is_checked_before_noise_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "_observe", lambda self: np.zeros(5, np.float32))
    environment = envs.make("rlottery-tests/Target-v0+noise3")
    with pytest.raises(TaskError, match=r"at reset\(\), the observation is .*\(5,\).* space has shape \(2,\)"):
        environment.reset(0)


def test_names_of_noise_inputs() -> None:
    own, noise = ("cos angle", "sin angle", "angular velocity"), ("noise 1", "noise 2")
    assert envs.observation_names("Pendulum-v1+noise2") == own + noise
    assert envs.entry_names("Pendulum-v1+noise2", 5) == own + noise
    assert envs.entry_names("Pendulum-v1+noise2", 6) == (None,) * 4 + noise  # made with other observations
    assert envs.entry_names("some:Thing-v0+noise2", 3) == (None, *noise)
    assert envs.entry_names("some:Thing-v0", 2) == (None, None)
    assert len(envs.observation_names("reach-v3+noise1000") or ()) == envs.make("reach-v3").observation_size + 1000


def test_pictures_are_those_of_the_task() -> None:
    stage = Stage(Task(id="rlottery-tests/Shown-v0+noise3"), (8, 8))
    stage.environment.reset(0)
    assert stage.steps_per_second == 25 and stage.picture().max() == 9


@pytest.mark.parametrize("task", ["InvertedDoublePendulum-v5", "reach-v3"])
def test_the_camera_is_that_of_the_task(task: str) -> None:
    cameras = []
    for name in (task, f"{task}+noise3"):
        raw = MagicMock()
        raw.model.vis.global_.offwidth = raw.model.vis.global_.offheight = 0
        _set_up_camera(name, raw, (8, 8))
        cameras.append(raw.mujoco_renderer.default_cam_config)
    assert cameras[0] is cameras[1] and "azimuth" in cameras[0]
