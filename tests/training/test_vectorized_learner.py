"""Agents that train as one program: what each becomes, against the same agent alone; and that nobody waits forever."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import Algorithm, jax_key, kernels, nest_masks, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC
from rlottery.config import NetworkSettings, SACSettings, Training
from rlottery.envs import Environment
from rlottery.errors import DivergedError
from rlottery.seeding import Streams
from rlottery.storage.metrics_log import WALL_CLOCK
from rlottery.storage.transitions import Transitions
from rlottery.training import loop as training
from rlottery.training import meters
from rlottery.training.learner import CpuLearner, Learner
from rlottery.training.loop import Loop, TrainingPlan, action_noise, begin, train
from rlottery.training.vectorized_learner import Group
from tests.cases import CONTINUOUS, Case
from tests.cases import SAC as SAC_CASE
from tests.environments import Target
from tests.toy import TOY, ToySettings, initial
from tests.training.recording import Rows, to_the_end

SPEC = Spec(2, 1)
SETTINGS = SACSetup(
    SACSettings(discount=0.5, initial_temperature=0.1, target_entropy=-3.0),
    NetworkSettings(actor=(16, 16), critic=(16, 16)),
)
STEPS, WARMUP = 70, 20
PATIENCE = 1200.0
"""Seconds after which a thread is taken to wait forever."""


@pytest.fixture(scope="module", autouse=True)
def _rows_in_plenty() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "LOSS_INTERVAL", 10)
        patch.setattr(meters, "EPISODE_INTERVAL", 1)
        yield


class Run:
    """One run on a toy task, whoever makes its learner."""

    def __init__(
        self,
        seed: int,
        arm: str = "dense",
        *,
        env_steps: int = STEPS,
        updates_per_step: Any = 1,
        environments: int = 1,
        environment: Callable[[], Target] = Target,
        tick: Callable[[int], object] = lambda step: None,
        dynamic: Any = None,
        between_episodes: Callable[[Loop], None] = lambda loop: None,
        case: Case = SAC_CASE,
    ) -> None:
        algorithm = self.algorithm = case.algorithm
        self.settings = SETTINGS if case is SAC_CASE else case.settings(16, 16, discount=0.5)
        self.streams = Streams("tests", "Target-v0", seed, arm)
        self.recorder = Rows(tick)
        self.rows = self.recorder.rows
        self.loop: Loop | None = None
        self.between_episodes = between_episodes
        self._environment = environment
        given = Training(
            env_steps=env_steps,
            warmup_steps=WARMUP,
            updates_per_step=updates_per_step,
            environments=environments,
        )
        rollouts = case.description.rollouts(self.settings)
        self.schedule = TrainingPlan(
            training=given if rollouts is None else self.settings.hyperparameters.schedule(given),
            batch_size=8,
            evaluation_interval=30,
            evaluation_seeds=[1, 2],
            streams=self.streams,
            dynamic=dynamic,
            rollouts=rollouts,
        )
        key = jax_key(self.streams.for_purpose("updates"))
        weights = algorithm.init_params(jax_key(seed), SPEC, self.settings)
        self.start = algorithm.init(weights, key, self.settings)
        if arm != "dense":
            self.start = algorithm.with_masks(self.start, nest_masks(random_masks(self.start, seed)))

    def train(self, make_learner: Callable[..., Learner]) -> None:
        loop, self.loop = self.loop, None
        state = self.start if loop is None else loop.learner.state
        state, noise = jax.tree.map(jnp.copy, state), action_noise(self.streams)
        learner = make_learner(self.algorithm, self.settings, state, SPEC, noise)
        if loop is None:
            loop = begin(learner, self.schedule, SPEC)
        loop.learner, self.loop = learner, loop
        make = lambda: Environment("Target", self._environment())  # noqa: E731
        to_the_end(train(loop, self.schedule, make, self.recorder), self.between_episodes)

    def alone(self) -> "Run":
        self.train(without_kernels)
        return self

    @property
    def state(self) -> dict[str, np.ndarray]:
        assert self.loop is not None
        return to_arrays(self.loop.learner.state)


def without_kernels(*arguments: Any) -> Learner:
    return CpuLearner(*arguments, kernels=False)


def random_masks(state: Any, seed: int, share: float = 0.5) -> dict[str, dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return {
        group: {path: generator.random(kernel.shape) < share for path, kernel in kernels(tree).items()}
        for group, tree in state.params.items()
    }


def in_threads(*work: Callable[[], None]) -> list[BaseException | None]:
    """What each ended with; fails if one doesn't end."""
    ends: list[BaseException | None] = [None] * len(work)

    def do(index: int) -> None:
        try:
            work[index]()
        except Exception as error:
            ends[index] = error

    threads = [threading.Thread(target=do, args=[index], daemon=True) for index in range(len(work))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "a thread waits forever"
    return ends


def together(*runs: Run) -> list[BaseException | None]:
    """Train runs as one group, a thread each."""
    group = Group(len(runs))

    def work(run: Run) -> Callable[[], None]:
        def train_it() -> None:
            with group.place() as make_learner:
                run.train(make_learner)

        return train_it

    return in_threads(*map(work, runs))


def assert_same(run: Run, alone: Run) -> None:
    """Rows and agents are alike up to rounding, and in everything that is not rounded to the bit."""
    assert len(run.rows) == len(alone.rows) > 0
    for row, expected in zip(run.rows, alone.rows, strict=True):
        assert row.keys() == expected.keys()
        for name in row.keys() - WALL_CLOCK:
            near = expected[name] if name == "kind" else pytest.approx(expected[name], rel=2e-4, abs=1e-5)
            assert row[name] == near, (name, row["env_steps"])
    found, expected_state = run.state, alone.state
    assert found.keys() == expected_state.keys()
    for name, array in expected_state.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        if array.dtype == np.float32:
            np.testing.assert_allclose(found[name], array, rtol=2e-4, atol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)


@CONTINUOUS
def test_agents_of_one_program_become_what_they_are_alone(case: Case) -> None:
    recipes: list[dict[str, Any]] = [
        {"seed": 0, "case": case},
        {"seed": 0, "case": case, "arm": "ticket"},
        # It leaves while the others train.
        {"seed": 1, "case": case, "arm": "ticket", "env_steps": 45},
    ]
    runs = [Run(**recipe) for recipe in recipes]
    assert together(*runs) == [None] * 3
    for run, recipe in zip(runs, recipes, strict=True):
        assert_same(run, Run(**recipe).alone())
    dense, ticket, _ = runs
    assert dense.loop is not None and ticket.loop is not None
    assert dense.loop.learner.state.masks == {}
    assert case.algorithm.masks_hold(ticket.loop.learner.state)
    assert to_arrays(ticket.loop.learner.state.masks).keys() == to_arrays(ticket.start.masks).keys()


def test_several_updates_a_step() -> None:
    runs = [Run(0, updates_per_step=3), Run(1, "ticket", updates_per_step=2), Run(2)]
    assert together(*runs) == [None] * 3
    assert_same(runs[0], Run(0, updates_per_step=3).alone())
    assert_same(runs[1], Run(1, "ticket", updates_per_step=2).alone())


def test_several_environments_and_fewer_updates_than_steps() -> None:
    recipes: list[dict[str, Any]] = [
        {"seed": 0, "environments": 5, "updates_per_step": {"every": 10, "updates": 2}},
        {"seed": 1, "arm": "ticket", "environments": 2, "updates_per_step": 0.5},
        {"seed": 2},
    ]
    runs = [Run(**recipe) for recipe in recipes]
    assert together(*runs) == [None] * 3
    for run, recipe in zip(runs, recipes, strict=True):
        assert_same(run, Run(**recipe).alone())


def test_who_diverges_ends_alone_and_leaves_its_evidence() -> None:
    def spoilt() -> Target:
        return Target(steps=40, spoil={33: (0.0, 1e30)})

    runs = [Run(0), Run(1, environment=spoilt), Run(2, "ticket")]
    _, diverged, _ = ends = together(*runs)
    assert ends[0] is ends[2] is None
    assert isinstance(diverged, DivergedError)
    with pytest.raises(DivergedError) as alone:
        Run(1, environment=spoilt).alone()
    assert str(diverged).partition(".")[0] == str(alone.value).partition(".")[0]
    assert diverged.arrays.keys() == alone.value.arrays.keys()
    for name in ("data.observations", "data.rewards"):
        np.testing.assert_allclose(diverged.arrays[name], alone.value.arrays[name], rtol=1e-4)
    assert_same(runs[0], Run(0).alone())
    assert_same(runs[2], Run(2, "ticket").alone())


class StopHereError(Exception):
    pass


def stop_at(step: int) -> Callable[[Loop], None]:
    def between_episodes(loop: Loop) -> None:
        if loop.env_steps == step:
            raise StopHereError

    return between_episodes


def test_one_that_goes_on_joins_those_that_begin() -> None:
    resumed = Run(0, between_episodes=stop_at(40))
    with pytest.raises(StopHereError):
        resumed.alone()
    resumed.between_episodes = lambda loop: None
    others = [Run(1), Run(2, "ticket")]
    assert together(others[0], resumed, others[1]) == [None] * 3
    assert_same(resumed, Run(0).alone())
    assert_same(others[0], Run(1).alone())


def test_who_fails_or_stops_is_not_waited_for_and_stays_as_it_was() -> None:
    def fail(step: int) -> None:
        if step == 33:
            raise ZeroDivisionError

    runs = [Run(0, tick=fail), Run(1, between_episodes=stop_at(50)), Run(2)]
    ends = together(*runs)
    assert [type(end) for end in ends] == [ZeroDivisionError, StopHereError, type(None)]
    assert_same(runs[2], Run(2).alone())
    # Its agent is read after the others have gone on without it.
    alone = Run(1, between_episodes=stop_at(50))
    with pytest.raises(StopHereError):
        alone.alone()
    assert_same(runs[1], alone)


def bits(run: Run) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in run.state.items()}


def test_the_others_have_no_part_in_what_an_agent_becomes() -> None:
    first, other = Run(0, "ticket"), Run(0, "ticket", tick=lambda step: time.sleep(0.002))
    together(first, Run(1), Run(2))
    together(Run(3, "ticket", env_steps=25), Run(4, between_episodes=stop_at(30)), other)
    assert bits(first) == bits(other)


def test_masks_change_between_updates() -> None:
    class Pruned:
        def due(self, step: int) -> bool:
            return step in (30, 45)

        def update(self, state: Any, step: int, batch: Transitions) -> Any:
            return SAC.with_masks(state, nest_masks(random_masks(state, step, share=20 / step)))

    runs = [Run(0, "gradual", dynamic=Pruned()), Run(1), Run(2, dynamic=Pruned())]
    assert together(*runs) == [None] * 3
    assert_same(runs[0], Run(0, "gradual", dynamic=Pruned()).alone())
    assert_same(runs[1], Run(1).alone())
    # Dense until step 30.
    assert_same(runs[2], Run(2, dynamic=Pruned()).alone())


def test_a_new_state_is_acted_by_at_once() -> None:
    one, other = Run(0), Run(1)
    with Group(1).place() as make_learner:
        learner = make_learner(SAC, SETTINGS, one.start, SPEC, action_noise(one.streams))
        observation = np.array([0.3, -0.2], np.float32)
        for run in (one, other):
            learner.state = run.start
            expected = CpuLearner(SAC, SETTINGS, run.start, SPEC, action_noise(one.streams), kernels=False)
            np.testing.assert_array_equal(
                learner.act_deterministic(observation), expected.act_deterministic(observation)
            )
            for step in (1, 2, 1030):
                np.testing.assert_array_equal(learner.act(observation, step), expected.act(observation, step))


def toy_learner(make_learner: Callable[..., Learner], algorithm: Algorithm = TOY, settings: Any = None) -> Learner:
    noise = np.zeros(2, np.uint32)
    return make_learner(algorithm, ToySettings() if settings is None else settings, initial(), SPEC, noise)


def rows_of(generator: np.random.Generator, batch_size: int = 4) -> np.ndarray:
    return generator.normal(size=(batch_size, 2 * 2 + 1 + 2)).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_nobody_waits_for_ever_whatever_the_others_do(seed: int) -> None:
    """Updates, actions, evaluations, saves, new agents, pauses and sudden ends, each thread in an order of its own."""
    size = 2 + seed
    group = Group(size)
    seen: dict[int, tuple[Any, Any]] = {}

    def work(index: int) -> Callable[[], None]:
        chance, generator = random.Random(100 * seed + index), np.random.default_rng(100 * seed + index)
        favours = chance.choice([0.5, 0.9, 0.99])

        def live() -> None:
            with group.place() as make_learner:
                time.sleep(chance.choice([0.0, 0.0, 0.05]))
                if chance.random() < 0.1:
                    raise ZeroDivisionError  # before it has a learner
                learner, alone = toy_learner(make_learner), toy_learner(without_kernels)
                seen[index] = learner, alone
                for step in range(chance.randrange(1, 150)):
                    if chance.random() < favours:
                        rows = rows_of(generator)
                        told, expected = learner.update(rows), alone.update(rows)
                        assert told.metrics == expected.metrics and told.finite
                    else:
                        chosen = chance.randrange(6)
                        if chosen == 0:
                            learner.act_deterministic(np.ones(2, np.float32))
                        elif chosen == 1:
                            assert learner.state.updates == alone.state.updates
                        elif chosen == 2:
                            moved = jax.tree.map(jnp.copy, alone.state)._replace(updates=jnp.int32(step))
                            learner.state, alone.state = moved, jax.tree.map(jnp.copy, moved)
                        elif chosen == 3:
                            time.sleep(chance.random() * 0.01)
                        elif chosen == 4:
                            learner.act(np.ones(2, np.float32), step)
                        elif chance.random() < 0.05:
                            raise ZeroDivisionError

        return live

    ends = in_threads(*(work(index) for index in range(size)))
    assert {type(end) for end in ends} <= {type(None), ZeroDivisionError}, ends
    for learner, alone in seen.values():
        found, expected = to_arrays(learner.state), to_arrays(alone.state)
        assert found["updates"] == expected["updates"]
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-7)


def test_an_update_does_not_wait_for_who_evaluates() -> None:
    group, evaluates, updated = Group(2), threading.Event(), threading.Event()
    generator = np.random.default_rng(0)

    def evaluate() -> None:
        with group.place() as make_learner:
            learner = toy_learner(make_learner)
            learner.update(rows_of(generator))
            learner.act_deterministic(np.ones(2, np.float32))
            evaluates.set()
            assert updated.wait(PATIENCE / 2)

    def update() -> None:
        with group.place() as make_learner:
            learner = toy_learner(make_learner)
            assert evaluates.wait(PATIENCE / 2)
            for _ in range(3):
                learner.update(rows_of(generator))
            updated.set()

    assert in_threads(evaluate, update) == [None, None]


def test_an_update_waits_for_who_is_about_to_update() -> None:
    group, order, begun = Group(2), [], threading.Event()

    def work(name: str, pause: float, before: Callable[[Learner], None]) -> Callable[[], None]:
        def live() -> None:
            generator = np.random.default_rng(0)
            with group.place() as make_learner:
                learner = toy_learner(make_learner)
                before(learner)
                for _ in range(3):
                    time.sleep(pause)
                    order.append(f"{name} hands in")
                    learner.update(rows_of(generator))
                    order.append(f"{name} has")

        return live

    def begin_alone(learner: Learner) -> None:
        learner.update(rows_of(np.random.default_rng(0)))
        begun.set()

    def join_in(learner: Learner) -> None:
        assert begun.wait(PATIENCE / 2)

    assert in_threads(work("slow", 0.1, begin_alone), work("fast", 0.0, join_in)) == [None, None]
    # Both have handed in before either goes on. (The fast one may have handed in again before the slow one says so.)
    for number, place in enumerate([index for index, line in enumerate(order) if line == "fast has"], start=1):
        assert order[:place].count("slow hands in") == order[:place].count("fast hands in") == number, order


def test_when_the_program_fails_all_are_told() -> None:
    group, ready = Group(3), threading.Barrier(3)

    def work() -> None:
        with group.place() as make_learner:
            learner = toy_learner(make_learner)
            generator = np.random.default_rng(0)
            ready.wait(PATIENCE / 2)
            group._update = out_of_memory
            learner.update(rows_of(generator))

    ends = in_threads(work, work, work)
    assert [str(end) for end in ends] == ["the group's update failed: no memory"] * 3


def out_of_memory(*arguments: Any) -> Any:
    raise ValueError("no memory")


def test_agents_of_other_kinds_are_refused() -> None:
    group = Group(2)
    with group.place() as make_first, group.place() as make_second:
        first = toy_learner(make_first)
        with pytest.raises(ValueError, match="different algorithms, settings or sizes"):
            toy_learner(make_second, settings=ToySettings(metric_nan_at=1))
        second = toy_learner(make_second)
        first.update(rows_of(np.random.default_rng(0)))
        with pytest.raises(ValueError, match="different batch sizes"):
            second.update(rows_of(np.random.default_rng(0), batch_size=5))
