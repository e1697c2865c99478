import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces

from rlottery.agents.algorithms import DQNSetup, PPOSetup, SACSetup, TD3Setup
from rlottery.agents.base import Algorithm, jax_key, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.dqn import DQN
from rlottery.agents.ppo import PPO
from rlottery.agents.sac import SAC
from rlottery.agents.td3 import TD3
from rlottery.config import DQNSettings, NetworkSettings, PPOSettings, SACSettings, TD3Settings, Training
from rlottery.envs import Environment
from rlottery.errors import DivergedError, TaskError
from rlottery.seeding import Streams
from rlottery.storage.metrics_log import MetricsRow
from rlottery.training import loop as training
from rlottery.training import meters
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import Loop, TrainingPlan, action_noise, begin, check_sound, train
from tests.environments import Target
from tests.toy import TOY, ToySettings, initial
from tests.training.recording import Rows, to_the_end

STREAMS = Streams("tests", "Target-v0", 0, "dense")
EVALUATION_SEEDS = [11, 12, 13]


class Run:
    """One training and everything that it left: rows, ticks, its two environments."""

    def __init__(
        self,
        *,
        env_steps: int = 40,
        warmup_steps: int = 10,
        updates_per_step: Any = 1,
        replay_capacity: int | str = "all",
        interval: int = 20,
        batch_size: int = 8,
        arm: str = "dense",
        seed: int = 0,
        algorithm: Algorithm = TOY,
        settings: Any = ToySettings(),  # noqa: B008
        state: Any = None,
        environment: Callable[[], Target] = Target,
        environments: int = 1,
        dynamic: Any = None,
        rewind_points: Any = None,
        spec: Spec = Spec(2, 1),  # noqa: B008
        steps_before: int = 0,
    ) -> None:
        self.ticks: list[int] = []
        self.recorder = Rows(self.ticks.append)
        self.rows = self.recorder.rows
        self.environments: list[Target] = []
        self.streams = STREAMS._replace(arm=arm, seed=seed)

        def make() -> Environment:
            self.environments.append(environment())
            return Environment("Target", self.environments[-1])

        given = Training(
            env_steps=env_steps,
            warmup_steps=warmup_steps,
            updates_per_step=updates_per_step,
            replay_capacity=replay_capacity,
            environments=environments,
        )
        rollouts = algorithm.description.rollouts(settings)
        schedule = TrainingPlan(
            training=given if rollouts is None else settings.hyperparameters.schedule(given),
            batch_size=batch_size,
            evaluation_interval=interval,
            evaluation_seeds=EVALUATION_SEEDS,
            streams=self.streams,
            dynamic=dynamic,
            rollouts=rollouts,
            steps_before=steps_before,
        )
        # The toy knows nothing of compact networks.
        learner = CpuLearner(
            algorithm,
            settings,
            initial() if state is None else state,
            spec,
            action_noise(self.streams),
            kernels=False if algorithm is TOY else None,
        )
        self.loop = begin(learner, schedule, spec)
        self._training = lambda: train(self.loop, schedule, make, self.recorder, rewind_points)

    def train(self, between_episodes: Callable[[Loop], None] = lambda loop: None) -> Loop:
        to_the_end(self._training(), between_episodes)
        return self.loop

    def of_kind(self, kind: str) -> list[MetricsRow]:
        return [row for row in self.rows if row["kind"] == kind]


def bits(state: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in to_arrays(state).items()}


@pytest.fixture(scope="module", autouse=True)
def _a_row_an_episode() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meters, "EPISODE_INTERVAL", 1)
        yield


# The loop itself, with a toy algorithm.


@pytest.fixture(scope="module")
def plain() -> tuple[Run, Loop]:
    run = Run(env_steps=50, interval=20)
    return run, run.train()


def test_evaluations_stand_at_the_start_at_each_interval_and_at_the_end(plain: tuple[Run, Loop]) -> None:
    run, _ = plain
    assert [row["env_steps"] for row in run.of_kind("evaluation")] == [0, 20, 40, 50]
    assert run.rows[0]["kind"] == "evaluation"
    assert run.rows[-1] == run.of_kind("evaluation")[-1]
    assert list(dict.fromkeys(run.ticks)) == list(range(1, 51))


def test_phases_in_which_no_step_is_taken_are_named(plain: tuple[Run, Loop]) -> None:
    """The first evaluation, and the first update, whose compilation takes seconds."""
    assert plain[0].recorder.phases == ["evaluating", None, "compiling", None]


def test_an_evaluation_row_holds_the_deterministic_policys_episodes(plain: tuple[Run, Loop]) -> None:
    run, _ = plain
    row = run.of_kind("evaluation")[0]
    kernel = np.asarray(initial().params["actor"]["layer_0"]["kernel"], np.float64)[:, 0]
    expected = []
    for seed in EVALUATION_SEEDS:
        start = np.random.default_rng(seed).uniform(-1, 1)
        actions = np.tanh(start * kernel[0] + np.arange(5) * kernel[1])
        expected.append(-((actions - 0.5) ** 2).sum())
    assert row["returns"] == pytest.approx(expected, rel=1e-5)
    assert row["return"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert row["lengths"] == [5, 5, 5]
    assert row["seconds"] > 0
    assert "success" not in row


def test_an_episode_row_holds_the_return_of_the_actions_taken(plain: tuple[Run, Loop]) -> None:
    run, _ = plain
    actions = np.array(run.environments[0].actions)
    rows = run.of_kind("episode")
    assert [(row["env_steps"], row["length"]) for row in rows] == [(step, 5) for step in range(5, 51, 5)]
    returns = -((actions - 0.5) ** 2).reshape(10, 5).sum(1)
    assert [row["return"] for row in rows] == pytest.approx(returns, rel=1e-5)
    assert not any("success" in row for row in rows)


def test_success_is_in_the_rows_of_tasks_that_know_it() -> None:
    run = Run(environment=lambda: Target(success_at=2))
    run.train()
    assert {row["success"] for row in run.of_kind("episode")} == {1.0}
    assert run.of_kind("evaluation")[0]["successes"] == [1.0, 1.0, 1.0]
    assert run.of_kind("evaluation")[0]["success"] == 1.0


def test_loss_rows_are_means_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LOSS_INTERVAL", 15)
    run = Run(env_steps=50, warmup_steps=20, updates_per_step=2)
    run.train()
    rows = run.of_kind("losses")
    # The toy's loss counts the updates: 20 of them until step 30, 30 more until step 45.
    assert [(row["env_steps"], row["loss"], row["fine"]) for row in rows] == [(30, 9.5, 4.0), (45, 34.5, 4.0)]
    assert all(row["updates_per_second"] > 0 for row in rows)


@pytest.mark.parametrize(("warmup_steps", "updates_per_step"), [(0, 1), (10, 1), (39, 1), (10, 3)])
def test_warm_up_makes_no_updates(warmup_steps: int, updates_per_step: int) -> None:
    trained = Run(warmup_steps=warmup_steps, updates_per_step=updates_per_step).train()
    assert trained.learner.state.updates == (40 - warmup_steps) * updates_per_step


EVERY_8 = {"every": 8, "updates": 2}
"""With a warm-up of 10 steps: 2 updates at step 18, 26, 34, 42, ..."""


def test_fewer_updates_than_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are reported at the next step that is due, however few updates there were."""
    monkeypatch.setattr(training, "LOSS_INTERVAL", 5)
    run = Run(env_steps=45, updates_per_step=EVERY_8)
    made: list[tuple[int, int]] = []
    run.recorder.tick = lambda step: made.append((step, int(run.loop.learner.state.updates)))
    run.train()
    before = {step: max(0, step - 11) // 8 * 2 for step in range(1, 46)}
    after_updates = [(step, before[step] + number) for step in (18, 26, 34, 42) for number in (1, 2)]
    assert made == sorted([*before.items(), *after_updates])
    # The toy's loss counts the updates.
    assert [(row["env_steps"], row["loss"]) for row in run.of_kind("losses")] == [
        (20, 0.5),
        (30, 2.5),
        (35, 4.5),
        (45, 6.5),
    ]


def test_masks_change_also_at_steps_without_an_update() -> None:
    seen: list[tuple[int, int, tuple[int, ...]]] = []

    class Masks:
        def due(self, step: int) -> bool:
            return step in (18, 20, 25, 30)

        def update(self, state: Any, step: int, batch: Any) -> Any:
            stored = run.loop.replay.stored()
            assert np.isin(batch.rewards, stored.rewards).all()
            seen.append((step, int(state.updates), batch.actions.shape))
            return state

    run = Run(updates_per_step=EVERY_8, dynamic=Masks())
    run.train()
    assert seen == [(18, 2, (8, 1)), (20, 2, (8, 1)), (25, 2, (8, 1)), (30, 4, (8, 1))]


def test_a_rewind_point_between_two_updates() -> None:
    saved: dict[int, int] = {}

    class Points:
        def due(self, step: int) -> bool:
            return step in (18, 25, 26)

        def save(self, step: int, state: Any) -> None:
            saved[step] = int(state.updates)

    Run(updates_per_step=EVERY_8, rewind_points=Points()).train()
    assert saved == {18: 2, 25: 2, 26: 4}


def test_warm_up_actions_are_uniform() -> None:
    run = Run(env_steps=600, warmup_steps=599, interval=600)
    run.train()
    counts, _ = np.histogram(run.environments[0].actions[:599], bins=5, range=(-1, 1))
    assert counts.sum() == 599
    assert counts.min() > 85


class Doors(Target):
    """The target, for one of three actions."""

    action_space = spaces.Discrete(3, start=5)  # type: ignore[assignment]

    def step(self, action: Any) -> Any:
        return super().step([action])  # type: ignore[arg-type]


def test_discrete_actions_are_one_hot_and_know_the_step_of_training() -> None:
    """Random ones in the warm-up; then those of the algorithm, which reads how far training is."""
    seen: list[tuple[int, int]] = []

    def explore(outputs: np.ndarray, noise: np.ndarray, step: int, settings: Any) -> np.ndarray:
        seen.append((step, len(noise)))
        return np.eye(3, dtype=np.float32)[step % 3]

    algorithm = replace(
        TOY,
        explore=explore,
        complete=lambda outputs, arrays: np.tile(np.float32([0, 1, 0]), (len(outputs), 1)),  # action 1 is the best
        noise_size=lambda spec: spec.action_size + 1,
    )
    discrete = {"algorithm": algorithm, "environment": Doors, "spec": Spec(2, 3, discrete=True)}
    run = Run(env_steps=62, warmup_steps=60, updates_per_step={"every": 500}, interval=62, steps_before=7, **discrete)
    stored = run.train().replay.stored()
    assert (stored.actions.sum(1) == 1).all() and set(np.unique(stored.actions)) == {0, 1}
    assert (stored.actions[:60].sum(0) > 10).all()
    assert seen == [(68, 4), (69, 4)] and stored.actions[60:].tolist() == [[0, 0, 1], [1, 0, 0]]
    own = [5 + chosen for chosen in stored.actions.argmax(1)]
    assert run.environments[0].actions == own and set(run.environments[1].actions) == {6}


def test_every_action_has_noise_of_its_own(plain: tuple[Run, Loop]) -> None:
    run, _ = plain
    # The toy's policy is tanh(mean + N(0, 1)) with means of at most a few tenths.
    before = np.arctanh(run.environments[0].actions[10:])
    assert 0.6 < before.std() < 1.5
    assert abs(before.mean()) < 0.7


def test_replay_holds_each_step_with_its_true_end() -> None:
    run = Run(env_steps=20, environment=lambda: Target(steps=3, terminates=lambda episode: episode % 2 == 0))
    stored = run.train().replay.stored()
    steps = np.arange(20)
    # Episodes are three steps long. The even ones terminate, the odd ones are cut off by a limit of time.
    assert np.array_equal(stored.terminations, (steps % 3 == 2) & (steps // 3 % 2 == 0))
    assert np.array_equal(stored.observations[:, 1], steps % 3)
    assert np.array_equal(stored.next_observations[:, 1], steps % 3 + 1)
    starts = [np.random.default_rng(seed).uniform(-1, 1) for seed in run.environments[0].seeds]
    np.testing.assert_allclose(stored.observations[:, 0], np.repeat(starts, 3)[:20], rtol=1e-6)
    np.testing.assert_allclose(stored.next_observations[:, 0], stored.observations[:, 0])
    np.testing.assert_allclose(stored.actions[:, 0], run.environments[0].actions, atol=1e-6)
    np.testing.assert_allclose(stored.rewards, -((stored.actions[:, 0] - 0.5) ** 2), rtol=1e-4, atol=1e-6)


def test_an_environment_that_overwrites_its_observations_is_recorded_right(plain: tuple[Run, Loop]) -> None:
    _, trained = plain
    other = Run(env_steps=50, environment=lambda: Target(overwrites=True)).train()
    assert all(np.array_equal(a, b) for a, b in zip(trained.replay.stored(), other.replay.stored(), strict=True))


def test_replay_keeps_its_capacity(plain: tuple[Run, Loop]) -> None:
    _, trained = plain
    assert len(trained.replay.stored().rewards) == 50
    assert len(Run(replay_capacity=15).train().replay.stored().rewards) == 15


def test_episodes_follow_from_the_run_and_their_number(plain: tuple[Run, Loop]) -> None:
    run, _ = plain
    expected = [run.streams.for_purpose("episode", k) % 2**31 for k in range(10)]
    assert run.environments[0].seeds == expected
    assert run.environments[1].seeds == EVALUATION_SEEDS * 4


def test_another_arm_sees_other_data() -> None:
    dense, ticket = (Run(arm=arm, warmup_steps=20).train().replay.stored() for arm in ("dense", "taylor-80"))
    for name in ("observations", "actions", "rewards"):
        one, other = getattr(dense, name), getattr(ticket, name)
        assert not np.isin(one[:, 0] if one.ndim == 2 else one, other).all()
    assert not np.isin(dense.actions[:20], ticket.actions).any()
    assert not np.isin(dense.actions[20:], ticket.actions).any()


def test_evaluation_changes_nothing_in_training(plain: tuple[Run, Loop]) -> None:
    seldom, one = plain
    often = Run(env_steps=50, interval=3)
    other = often.train()
    assert bits(one.learner.state) == bits(other.learner.state)
    assert all(np.array_equal(a, b) for a, b in zip(one.replay.stored(), other.replay.stored(), strict=True))
    assert often.of_kind("episode") == seldom.of_kind("episode")


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_metrics_before() -> None:
    run = Run(settings=ToySettings(metric_nan_at=7))
    with pytest.raises(
        DivergedError,
        match=r"environment step 18: loss\. Metrics of the last finite update: fine 4, loss 6\. Lower toy\.rate",
    ):
        run.train()
    assert run.of_kind("evaluation")[-1]["env_steps"] == 0


def test_a_loss_that_is_not_finite_from_the_first_has_no_metrics_before() -> None:
    with pytest.raises(DivergedError, match="environment step 11: loss. Metrics of the last finite update: none"):
        Run(settings=ToySettings(metric_nan_at=0)).train()


def test_a_weight_that_is_not_finite_stops_in_the_same_update_with_its_batch() -> None:
    run = Run(settings=ToySettings(weight_nan_at=3))
    # Updates begin at step 11.
    words = r"environment step 14: weight actor\.layer_0\.kernel\. Metrics of the last finite update: fine 4, loss 3"
    with pytest.raises(DivergedError, match=words) as caught:
        run.train()
    assert np.isfinite(run.environments[0].actions).all()
    evidence = caught.value.arrays
    assert evidence["data.observations"].shape == (8, 2)
    stored = run.loop.replay.stored()
    assert np.isin(evidence["data.rewards"], stored.rewards).all()
    assert np.isnan(evidence["agent.params.actor.layer_0.kernel"]).all()
    assert evidence["agent.updates"] == 4


def test_a_loss_that_is_not_finite_leaves_its_batch() -> None:
    with pytest.raises(DivergedError) as caught:
        Run(settings=ToySettings(metric_nan_at=7)).train()
    assert caught.value.arrays["data.actions"].shape == (8, 1)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_an_agent_that_is_not_finite_is_not_saved(poison: float) -> None:
    run = Run()
    check_sound(run.loop)
    state = run.loop.learner.state
    run.loop.learner.state = state._replace(params={"actor": {"bias": np.array([0, poison])}, "critic": {}})
    with pytest.raises(DivergedError, match=r"environment step 0: params\.actor\.bias\."):
        check_sound(run.loop)


def test_short_episodes_share_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "EPISODE_INTERVAL", 12)
    run = Run(env_steps=52)
    run.train()
    actions = np.array(run.environments[0].actions)[:50]
    returns = -((actions - 0.5) ** 2).reshape(10, 5).sum(1)
    rows = run.of_kind("episode")
    assert [(row["env_steps"], row["episodes"], row["length"]) for row in rows] == [
        (15, 3, 5.0),
        (30, 3, 5.0),
        (45, 3, 5.0),
        (52, 1, 5.0),
    ]
    means = [*returns[:9].reshape(3, 3).mean(1), returns[9]]
    assert [row["return"] for row in rows] == pytest.approx(means, rel=1e-5)


def test_between_episodes_is_where_an_episode_has_ended_and_is_not_the_last() -> None:
    run, seen = Run(env_steps=20), []
    run.train(lambda loop: seen.append((loop.env_steps, loop.episodes, len(run.rows))))
    assert [(steps, episodes) for steps, episodes, _ in seen] == [(5, 1), (10, 2), (15, 3)]
    # The row of the episode that ended is written by then.
    assert [run.rows[rows - 1]["env_steps"] for _, _, rows in seen] == [5, 10, 15]


def test_a_reward_that_is_not_finite_is_the_environments_fault() -> None:
    run = Run(environment=lambda: Target(steps=50, spoil={23: (0.0, np.nan)}))
    with pytest.raises(TaskError, match="Target: after step 23 of an episode, the reward is nan"):
        run.train()


def test_a_task_whose_spaces_change_is_refused_before_any_step() -> None:
    sizes = iter([2, 3])

    class Growing(Target):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = spaces.Box(-1.0, 1.0, (next(sizes),))

    run = Run(environment=Growing)
    with pytest.raises(TaskError, match="spaces change from one environment to the next: 2 and then 3 entries of obs"):
        run.train()
    assert run.rows == []


def test_keys_hold_all_bits_of_a_seed() -> None:
    seeds = [0, 1, 2**32, 2**63 + 1, 2**64 - 1]
    words = [jax.random.key_data(jax_key(seed)).tolist() for seed in seeds]
    assert words == [[0, 0], [0, 1], [1, 0], [2**31, 1], [2**32 - 1, 2**32 - 1]]


# Several environments.


def lengths(*steps: int) -> Callable[[], Target]:
    """Makes environments whose episodes have these lengths, one after the other, then those of evaluations."""
    left = itertools.chain(steps, itertools.repeat(5))
    return lambda: Target(steps=next(left))


def test_several_environments_take_turns_and_each_step_has_its_true_end() -> None:
    # 3 environments: episodes of 2, 3 and 4 steps.
    run = Run(env_steps=24, warmup_steps=6, interval=12, environments=3, environment=lengths(2, 3, 4))
    stored = run.train().replay.stored()
    turns = np.arange(24) // 3  # all of them have taken so many steps
    for index, length in enumerate((2, 3, 4)):
        of_one = slice(index, None, 3)
        np.testing.assert_array_equal(stored.observations[of_one, 1], turns[of_one] % length)
        np.testing.assert_array_equal(stored.next_observations[of_one, 1], turns[of_one] % length + 1)
        np.testing.assert_array_equal(stored.next_observations[of_one, 0], stored.observations[of_one, 0])
        np.testing.assert_allclose(stored.actions[of_one, 0], run.environments[index].actions, atol=1e-6)
    # Episodes are numbered as they begin. Those of 2 steps end after turn 2, 4 and 6, those of 3 after 3 and 6, ...
    numbers = [[0, 3, 5, 7], [1, 4, 8], [2, 6]]
    for environment, expected in zip(run.environments, numbers, strict=False):
        assert environment.seeds == [run.streams.for_purpose("episode", k) % 2**31 for k in expected]
    assert list(dict.fromkeys(run.ticks)) == list(range(3, 25, 3))
    assert [row["env_steps"] for row in run.of_kind("evaluation")] == [0, 12, 24]


def test_episodes_of_several_environments_are_told_apart() -> None:
    run = Run(env_steps=24, warmup_steps=6, interval=12, environments=3, environment=lengths(2, 3, 4))
    run.train()
    rows = run.of_kind("episode")
    # Ended after turn 2: one of 2 steps; turn 3: one of 3 steps; turn 4: of 2 and 4; turn 6: of 2 and 3; 8: of 2 and 4.
    assert [(row["env_steps"], row["episodes"], row["length"]) for row in rows] == [
        (6, 1, 2.0),
        (9, 1, 3.0),
        (12, 2, 3.0),
        (18, 2, 2.5),
        (24, 2, 3.0),
    ]
    actions = [np.array(one.actions) for one in run.environments[:3]]
    first, second = -((actions[0][2:4] - 0.5) ** 2).sum(), -((actions[2][:4] - 0.5) ** 2).sum()
    assert rows[2]["return"] == pytest.approx((first + second) / 2, rel=1e-5)


def test_no_two_environments_share_noise_or_actions() -> None:
    # Without updates the policy stays tanh(0.3 start + 0.01 step + noise).
    run = Run(env_steps=200, warmup_steps=40, interval=200, environments=8, updates_per_step={"every": 500})
    stored = run.train().replay.stored()
    actions = stored.actions[:, 0].astype(np.float64)
    assert len(set(actions.tolist())) == 200
    noise = np.arctanh(actions) - stored.observations @ [0.3, 0.01]
    key = jax.random.wrap_key_data(action_noise(run.streams))
    for step in (41, 42, 48, 49, 200):
        (drawn,) = np.asarray(jax.random.normal(jax.random.fold_in(key, step), (1,)))
        assert noise[step - 1] == pytest.approx(drawn, abs=1e-3)


@pytest.mark.parametrize("updates", [1, 3, 0.25, {"every": 6, "updates": 2}])
def test_updates_are_per_environment_step(updates: Any) -> None:
    run = Run(env_steps=40, warmup_steps=8, environments=4, updates_per_step=updates)
    made: dict[int, int] = {}  # at the first tick of each step, before its updates
    run.recorder.tick = lambda step: made.setdefault(step, int(run.loop.learner.state.updates))
    state = run.train().learner.state
    asked = Training(warmup_steps=8, updates_per_step=updates)
    assert made == {step: asked.updates_by(step - 4) for step in range(4, 41, 4)}
    assert int(state.updates) == asked.updates_by(40)


def test_losses_are_reported_where_several_environments_pass_a_multiple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LOSS_INTERVAL", 10)
    run = Run(env_steps=40, warmup_steps=8, environments=4)
    run.train()
    assert [row["env_steps"] for row in run.of_kind("losses")] == [12, 20, 32, 40]


def test_with_several_environments_training_can_be_saved_in_the_middle_of_episodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "SAVE_INTERVAL", 12)
    run, seen = Run(env_steps=60, environments=4, warmup_steps=8, environment=lambda: Target(steps=10)), []
    run.train(lambda loop: seen.append((loop.env_steps, loop.episodes)))
    assert seen == [(12, 0), (24, 0), (36, 0), (40, 4), (48, 4)]


# The loop with SAC and TD3.

SETTINGS = SACSetup(
    SACSettings(
        discount=0.0,
        actor_learning_rate=0.01,
        critic_learning_rate=0.01,
        temperature_learning_rate=0.01,
        initial_temperature=0.1,
        target_entropy=-3.0,
    ),
    NetworkSettings(actor=(16,), critic=(16,)),
)


TD3_SETTINGS = TD3Setup(
    TD3Settings(discount=0.0, actor_learning_rate=0.01, critic_learning_rate=0.01, exploration_noise=0.3),
    SETTINGS.network,
)


PPO_SETTINGS = PPOSetup(
    PPOSettings(discount=0.0, learning_rate=0.01, rollout_steps=100, batch_size=25, initial_log_std=-1.0),
    SETTINGS.network,
)


DQN_SETTINGS = DQNSetup(DQNSettings(discount=0.0, learning_rate=0.01, exploration_steps=500), NetworkSettings(q=(16,)))


class Thirds(Target):
    """Rewards -1, or 0 for the one of three actions in whose third of [-1, 1] the episode's own number lies."""

    action_space = spaces.Discrete(3, start=5)  # type: ignore[assignment]

    def step(self, action: Any) -> Any:
        best = 5 + int(1.5 * (self._observation[0] + 1))
        return super().step([0.5 if action == best else 1.5])  # type: ignore[arg-type]


@partial(jax.jit, static_argnums=(0, 1, 4))
def fresh(algorithm: Algorithm, settings: Any, weights: jax.Array, noise: jax.Array, spec: Spec = Spec(2, 1)) -> Any:  # noqa: B008
    return algorithm.init(algorithm.init_params(weights, spec, settings), noise, settings)


def learning_run(
    interval: int,
    algorithm: Algorithm = SAC,
    settings: Any = SETTINGS,
    spec: Spec = Spec(2, 1),  # noqa: B008
    **keys: Any,
) -> tuple[Run, Loop]:
    streams = jax_key(STREAMS.for_weights()), jax_key(STREAMS.for_purpose("updates"))
    run = Run(
        env_steps=900,
        warmup_steps=100,
        interval=interval,
        batch_size=32,
        algorithm=algorithm,
        settings=settings,
        state=fresh(algorithm, settings, *streams, spec),
        spec=spec,
        **keys,
    )
    return run, run.train()


@pytest.fixture(scope="module")
def learnt() -> tuple[Run, Loop]:
    return learning_run(interval=450)


@pytest.mark.parametrize("algorithm", [SAC, TD3, PPO], ids=["SAC", "TD3", "PPO"])
def test_agents_learn(learnt: tuple[Run, Loop], algorithm: Algorithm) -> None:
    settings = {TD3: TD3_SETTINGS, PPO: PPO_SETTINGS}
    run, _ = learnt if algorithm is SAC else learning_run(450, algorithm, settings[algorithm])
    returns = [row["return"] for row in run.of_kind("evaluation")]
    assert len(returns) == 3
    # At worst 0.2 beside the best action in each of five steps, where it was much further off.
    assert returns[-1] > 5 * -(0.2**2) > returns[0]


def test_agents_learn_discrete_actions() -> None:
    """The episodes that are evaluated need two different ones."""
    assert {int(1.5 * (np.random.default_rng(seed).uniform(-1, 1) + 1)) for seed in EVALUATION_SEEDS} == {0, 2}
    run, _ = learning_run(450, DQN, DQN_SETTINGS, Spec(2, 3, discrete=True), environment=Thirds)
    returns = [row["return"] for row in run.of_kind("evaluation")]
    assert returns[-1] == 0 > returns[0]


def test_the_same_seed_gives_the_same_bits_however_often_it_is_evaluated(learnt: tuple[Run, Loop]) -> None:
    run, trained = learnt
    again, retrained = learning_run(interval=225)
    assert bits(trained.learner.state) == bits(retrained.learner.state)
    assert run.of_kind("episode") == again.of_kind("episode")
    by_step = {row["env_steps"]: row["returns"] for row in again.of_kind("evaluation")}
    assert all(by_step[row["env_steps"]] == row["returns"] for row in run.of_kind("evaluation"))
