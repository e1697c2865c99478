"""Trials run in this process here; `tests/study/planning/test_trials.py` has the processes, records and messages."""

import random
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlottery.envs.trial import try_task
from rlottery.errors import TaskError


class Walk(gymnasium.Env[np.ndarray, np.ndarray]):
    """A random walk that an action pushes, of 12 steps. Subclasses break one promise each."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    open = 0

    def __init__(self) -> None:
        self.position, self.steps = 0.0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.steps = self.draw(), 0
        return self.see(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.position += 0.1 * float(action[0]) + self.draw()
        return self.see(), -abs(self.position), False, self.steps == 12, {}

    def draw(self) -> float:
        return float(self.np_random.uniform(-1, 1))

    def see(self) -> np.ndarray:
        return np.array([self.position, self.steps], np.float32)


class Chooses(Walk):
    """An action is one of three integers."""

    action_space = spaces.Discrete(3, start=-1)  # type: ignore[assignment]

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        taken.append(int(action))
        return super().step([action])  # type: ignore[arg-type]


taken: list[int] = []


class NumPysGenerator(Walk):
    def draw(self) -> float:
        return float(np.random.uniform())


class PythonsGenerator(Walk):
    def draw(self) -> float:
        return random.random()


class DrawsInItsConstructor(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.gain = np.random.uniform()

    def see(self) -> np.ndarray:
        return np.array([self.position, self.gain], np.float32)


class OwnUnseededGenerator(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng()

    def draw(self) -> float:
        return float(self.generator.uniform())


class SeededOnceGenerator(OwnUnseededGenerator):
    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)


class CountsEpisodes(Walk):
    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.episodes += 1
        return super().reset(seed=seed)

    def see(self) -> np.ndarray:
        return np.array([self.position, self.episodes], np.float32)


class KeepsItsSpeed(Walk):
    """What reset forgets shows only later in the episode."""

    speed = 0.0

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.speed += 0.01 * float(action[0])
        if self.steps > 5:
            self.position += self.speed
        return super().step(action)


class OneWorld(Walk):
    world: dict[str, float] = {}  # noqa: RUF012

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        OneWorld.world["push"] = 0.0
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        OneWorld.world["push"] += float(action[0])
        self.position += OneWorld.world["push"]
        return super().step(action)


class OneAtATime(Walk):
    def __init__(self) -> None:
        super().__init__()
        if OneAtATime.open:
            raise ConnectionError("port 5005 is in use")
        OneAtATime.open += 1

    def close(self) -> None:
        OneAtATime.open -= 1


class CloseFails(Walk):
    def close(self) -> None:
        raise RuntimeError("not connected")


class CloseLeaves(Walk):
    def close(self) -> None:
        raise SystemExit(0)


class NoticesSuccess(Walk):
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        *outcome, _ = super().step(action)
        return *outcome, {"is_success": self.steps == 3}  # type: ignore[return-value]


class AlwaysTheSame(Walk):
    def draw(self) -> float:
        return 0.0


class Endless(Walk):
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info


@pytest.fixture
def trial() -> Iterator[Callable[[Callable[..., Any]], dict[str, Any]]]:
    """A trial of an environment's class."""

    def of(entry_point: Callable[..., Any]) -> dict[str, Any]:
        gymnasium.registry.pop("rlottery-tests/Tried-v0", None)
        gymnasium.register("rlottery-tests/Tried-v0", entry_point=entry_point, disable_env_checker=True)
        return try_task("rlottery-tests/Tried-v0", {})

    yield of
    gymnasium.registry.pop("rlottery-tests/Tried-v0", None)


Of = Callable[[Callable[..., Any]], dict[str, Any]]


def test_a_task_that_keeps_its_promises(trial: Of) -> None:
    found = trial(Walk)
    assert found["deviations"] == {} and found["notes"] == []
    assert (found["observation_size"], found["action_size"], found["success_key"]) == (2, 1, None)
    assert (found["steps"], found["ended"]) == (12, True)
    assert found["rendering"] == "" and found["discrete"] is False


def test_a_task_with_discrete_actions(trial: Of) -> None:
    taken.clear()
    found = trial(Chooses)
    assert (found["action_size"], found["discrete"], found["deviations"]) == (3, True, {})
    assert set(taken) == {-1, 0, 1}


@pytest.mark.parametrize(
    ("entry_point", "kind", "seen"),
    [
        (
            NumPysGenerator,
            "unseeded",
            r"differ: the first observation is \[.*\] or .* generator of NumPy \(np.random\)\.",
        ),
        (PythonsGenerator, "unseeded", r"generator of Python \(random\)\."),
        (OwnUnseededGenerator, "unseeded", r"two new environments with the same seed"),
        (SeededOnceGenerator, "carryover", r"after other episodes"),
        (CountsEpisodes, "carryover", r"first observation is \[(.*), 1\] or \[\1, 2\]|\[(.*), 2\] or \[\2, 1\]"),
        (KeepsItsSpeed, "carryover", r"the observation of step 7"),
        (lambda: gymnasium.wrappers.NormalizeObservation(Walk()), "carryover", r"after other episodes"),
        (lambda: gymnasium.wrappers.NormalizeReward(Walk()), "carryover", r"the reward of step 1"),
        (OneWorld, "interference", r"while another environment is in use: the observation of step 6"),
    ],
)
def test_deviations_are_found(trial: Of, entry_point: Any, kind: str, seen: str) -> None:
    deviations = trial(entry_point)["deviations"]
    assert list(deviations) == [kind]
    assert re.search(seen, deviations[kind]), deviations[kind]


def test_a_run_needs_two_environments_at_once(trial: Of) -> None:
    with pytest.raises(TaskError, match="two environments at the same time.*port 5005 is in use"):
        trial(OneAtATime)


@pytest.mark.parametrize(
    ("entry_point", "note"),
    [
        (CloseFails, "close() fails.*RuntimeError: not connected"),
        (CloseLeaves, "close() fails.*SystemExit"),
        (AlwaysTheSame, "Every episode starts alike"),
    ],
)
def test_what_breaks_nothing_is_noted(trial: Of, entry_point: Any, note: str) -> None:
    found = trial(entry_point)
    assert found["deviations"] == {}
    assert re.search(note.replace("()", r"\(\)"), found["notes"][0])


def test_what_a_constructor_draws_is_the_same_in_every_process(trial: Of) -> None:
    assert trial(DrawsInItsConstructor)["deviations"] == {}


def test_the_key_of_success(trial: Of) -> None:
    assert trial(NoticesSuccess)["success_key"] == "is_success"


def test_an_endless_episode_is_cut_short(trial: Of) -> None:
    found = trial(Endless)
    assert (found["steps"], found["ended"]) == (1_000, False)


def test_a_slow_task_is_tried_for_some_steps(trial: Of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlottery.envs.trial.SECONDS", 0.0)
    found = trial(Walk)
    assert (found["steps"], found["ended"], found["deviations"]) == (10, False, {})
    assert list(trial(CountsEpisodes)["deviations"]) == ["carryover"]


def test_the_users_own_files_are_named(trial: Of) -> None:
    sources = trial(Walk)["sources"]
    assert __name__ in sources and not {"gymnasium", "rlottery", "random", "__main__"} & sources.keys()


@pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")
@pytest.mark.parametrize(
    ("task", "versioned"),
    [
        ("Pendulum", "Pendulum-v1"),
        ("CartPole+noise5", "CartPole-v1+noise5"),  # not -v0, which is older
        ("gymnasium.envs:MountainCarContinuous", "gymnasium.envs:MountainCarContinuous-v0"),
    ],
)
def test_an_id_without_its_version_is_refused_with_the_newest(task: str, versioned: str) -> None:
    with pytest.raises(TaskError, match=f"Task '{re.escape(task)}' has no version.*Write {re.escape(versioned)}.$"):
        try_task(task, {})
    assert try_task(versioned, {})["deviations"] == {}
    notes = try_task(task, {}, has_runs=True)["notes"]
    assert f"In another study, write {versioned}." in notes[0]


def test_an_id_that_never_has_a_version_needs_none() -> None:
    gymnasium.register("rlottery-tests/Walk", Walk)
    try:
        assert try_task("rlottery-tests/Walk", {})["steps"] == 12
    finally:
        del gymnasium.registry["rlottery-tests/Walk"]


@pytest.mark.parametrize(("module", "package"), [("yaml.envs", "PyYAML"), ("msgpack", "msgpack"), ("yam", None)])
def test_the_package_of_the_environment_has_its_version(trial: Of, module: str, package: str | None) -> None:
    found = trial(type("Installed", (Walk,), {"__module__": module}))["packages"]
    assert set(found) - {package} == {"gymnasium", "metaworld", "mujoco", "numpy"}
    assert package is None or found[package] == version(package)
