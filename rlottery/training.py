"""The training loop: joins an agent, an environment and a replay buffer. Every arm is trained by it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents import Algorithm, Batch
from rlottery.compilation import compile_update
from rlottery.config import Training
from rlottery.envs import Environment, Step
from rlottery.errors import DivergedError
from rlottery.evaluation import evaluate
from rlottery.metrics import Row
from rlottery.replay import ReplayBuffer
from rlottery.streams import Streams

LOSS_INTERVAL = 1_000
"""Environment steps between two rows of losses in the metrics."""


@dataclass(frozen=True)
class Schedule:
    """How one run is trained.

    Attributes:
        training: steps, warm-up, updates per step.
        batch_size: transitions an update sees.
        evaluation_interval: environment steps between evaluations; one more stands at step 0 and one at the end.
        evaluation_seeds: the episodes of an evaluation.
        streams: the run's random streams.
    """

    training: Training
    batch_size: int
    evaluation_interval: int
    evaluation_seeds: Sequence[int]
    streams: Streams


class Trained(NamedTuple):
    """What training leaves behind."""

    state: Any
    replay: ReplayBuffer


def train(
    algorithm: Algorithm,
    settings: Any,
    state: Any,
    make_environment: Callable[[], Environment],
    schedule: Schedule,
    write: Callable[[Row], None],
    tick: Callable[[int], None] = lambda step: None,
) -> Trained:
    """Train `state` for ``schedule.training.env_steps`` environment steps.

    Every metric is written as it comes; `tick` is called after each environment step.

    Data is collected with the stochastic policy. Evaluation uses the deterministic one, in an environment of its own.
    Goal and start of training episode k follow from (run, k).

    Raises:
        DivergedError: a loss, a weight or an action became NaN or infinite; the message gives the step and the last
            metrics.
        TaskError: the environment gave a reward or an observation that is NaN or infinite.
    """
    training, streams = schedule.training, schedule.streams
    environment, evaluation_environment = make_environment(), make_environment()
    replay = ReplayBuffer(training.capacity, environment.observation_size, environment.action_size)
    minibatches, exploration = streams.generator("minibatches"), streams.generator("warm-up actions")
    action_key = jax_key(streams.for_purpose("actions"))
    update = compile_update(algorithm, settings)

    @jax.jit
    def act(actor: Any, observation: Any, step: int) -> jax.Array:
        return algorithm.act(actor, observation, jax.random.fold_in(action_key, step))

    act_deterministic = jax.jit(algorithm.act_deterministic)
    losses = _LossMeter()

    def evaluate_now(env_steps: int) -> None:
        began = time.perf_counter()
        actor = state.params["actor"]
        result = evaluate(
            lambda observation: np.asarray(act_deterministic(actor, observation)),
            evaluation_environment,
            schedule.evaluation_seeds,
        )
        row: Row = {"kind": "evaluation", "env_steps": env_steps, "return": float(np.mean(result.returns))}
        if result.successes is not None:
            row |= {"success": float(np.mean(result.successes)), "successes": result.successes}
        write(row | {"returns": result.returns, "lengths": result.lengths, "seconds": time.perf_counter() - began})

    evaluate_now(0)
    episode = _EpisodeMeter(0)
    observation = environment.reset(streams.for_purpose("episode", episode.index))
    for step in range(1, training.env_steps + 1):
        warming_up = step <= training.warmup_steps
        if warming_up:
            action = exploration.uniform(-1.0, 1.0, environment.action_size).astype(np.float32)
        else:
            action = np.asarray(act(state.params["actor"], observation, step))
            if not np.isfinite(action).all():
                raise losses.diverged(step, "action")
        outcome = environment.step(action)
        replay.add(observation, action, outcome.reward, outcome.observation, outcome.terminated)
        observation = outcome.observation
        episode.add(outcome)
        tick(step)

        for _ in range(0 if warming_up else training.updates_per_step):
            state, metrics = update(state, Batch(*cast(Any, replay.sample(minibatches, schedule.batch_size))))
            losses.add(metrics, step)
        if step % LOSS_INTERVAL == 0 and not warming_up:
            write(losses.row(step))
        if outcome.terminated or outcome.truncated:
            write(episode.row(step))
            episode = _EpisodeMeter(episode.index + 1)
            observation = environment.reset(streams.for_purpose("episode", episode.index))
        if step % schedule.evaluation_interval == 0 or step == training.env_steps:
            check_finite(state.params, step)
            assert algorithm.masks_hold(state), "a pruned weight came back to life"
            evaluate_now(step)
    environment.close()
    evaluation_environment.close()
    return Trained(state, replay)


def jax_key(seed: int) -> jax.Array:
    """A JAX key that holds all 64 bits of `seed`."""
    words = jnp.array([seed >> 32, seed & 0xFFFFFFFF], jnp.uint32)
    key: jax.Array = jax.random.wrap_key_data(words)
    return key


def check_finite(params: Any, step: int) -> None:
    """Raises DivergedError, naming the weight, if any entry of `params` is NaN or infinite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise DivergedError(f"Weight {name} is no longer finite at environment step {step:,}. {_DIVERGED_MEND}")


_DIVERGED_MEND = "Lower sac.critic_learning_rate and sac.actor_learning_rate, or sac.reward_scale, and run again."


class _LossMeter:
    """Means of the updates' metrics since the last row; raises DivergedError at the first that isn't finite."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._updates = 0
        self._last: dict[str, float] = {}
        self._began = time.perf_counter()

    def add(self, metrics: dict[str, jax.Array], step: int) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        if not all(map(math.isfinite, values.values())):
            raise self.diverged(step, ", ".join(name for name, value in values.items() if not math.isfinite(value)))
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._updates += 1
        self._last = values

    def diverged(self, step: int, bad: str) -> DivergedError:
        """The error that says what `bad` was and how the update before it went."""
        last = ", ".join(f"{name} {value:.6g}" for name, value in self._last.items()) or "none"
        return DivergedError(
            f"Not finite at environment step {step:,}: {bad}. Metrics of the update before: {last}. {_DIVERGED_MEND}"
        )

    def row(self, step: int) -> Row:
        """The means since the last call, and updates a second over that time (evaluations included)."""
        now = time.perf_counter()
        means = {name: total / self._updates for name, total in self._sums.items()}
        row = {
            "kind": "losses",
            "env_steps": step,
            **means,
            "updates_per_second": self._updates / (now - self._began),
        }
        self._sums, self._updates, self._began = {}, 0, now
        return row


class _EpisodeMeter:
    """Return, length and success of the `index`-th training episode so far."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._return, self._length = 0.0, 0
        self._success: bool | None = None

    def add(self, outcome: Step) -> None:
        self._return += outcome.reward
        self._length += 1
        if outcome.success is not None:
            self._success = bool(self._success or outcome.success)

    def row(self, step: int) -> Row:
        row: Row = {"kind": "episode", "env_steps": step, "return": self._return, "length": self._length}
        return row if self._success is None else row | {"success": float(self._success)}
