"""The training loop: joins an agent, an environment and a replay buffer. Every arm is trained by it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from rlottery.agents.base import jax_key, to_arrays
from rlottery.agents.description import Spec
from rlottery.config import Training
from rlottery.envs import Environment, Step
from rlottery.errors import DivergedError
from rlottery.seeding import Streams
from rlottery.storage.checkpoint_record import SavedEpisodes, SavedLosses
from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.transitions import columns
from rlottery.training.evaluation import evaluate
from rlottery.training.learner import Learner
from rlottery.training.replay_buffer import ReplayBuffer

LOSS_INTERVAL = 1_000
"""Environment steps between two rows of losses in the metrics."""
EPISODE_INTERVAL = 100
"""Least environment steps between two rows of training episodes: short episodes share a row."""


@dataclass(frozen=True)
class TrainingPlan:
    """How one run is trained.

    Attributes:
        training: steps, warm-up, updates per step.
        batch_size: transitions an update sees.
        evaluation_interval: environment steps between evaluations; one more stands at step 0 and one at the end.
        evaluation_seeds: the episodes of an evaluation.
        streams: the run's random streams.
        warms_up_at_random: the first steps are uniformly random; else the policy's own, which was trained before.
        stop_at: ends training before `training.env_steps`, at this step, with nothing else changed.
    """

    training: Training
    batch_size: int
    evaluation_interval: int
    evaluation_seeds: Sequence[int]
    streams: Streams
    warms_up_at_random: bool = True
    stop_at: int | None = None


@dataclass
class Loop:
    """Training between two episodes: everything that the next one depends on.

    The environment is no part of it: what happens in an episode follows from the seed of its reset.

    Attributes:
        learner: the agent.
        minibatches, exploration: generators of what is drawn from replay, and of warm-up actions.
        env_steps, episodes: done so far.
    """

    learner: Learner
    replay: ReplayBuffer
    minibatches: np.random.Generator
    exploration: np.random.Generator
    losses: "LossMeter"
    episode: "EpisodeMeter"
    env_steps: int = 0
    episodes: int = 0

    @property
    def state(self) -> Any:
        """The agent's, as it is saved."""
        return self.learner.state

    @state.setter
    def state(self, state: Any) -> None:
        self.learner.state = state


def begin(learner: Learner, schedule: TrainingPlan, spec: Spec) -> Loop:
    """Training of an agent before its first step."""
    return Loop(
        learner=learner,
        replay=ReplayBuffer(schedule.training.capacity, *spec),
        minibatches=schedule.streams.generator("minibatches"),
        exploration=schedule.streams.generator("warm-up actions"),
        losses=LossMeter(),
        episode=EpisodeMeter(),
    )


def action_noise(streams: Streams) -> np.ndarray:
    """The seed of a run's action noise, as the two words of a JAX key."""
    return np.asarray(jax.random.key_data(jax_key(streams.for_purpose("actions"))))


def train(
    loop: Loop,
    make_environment: Callable[[], Environment],
    schedule: TrainingPlan,
    write: Callable[[MetricsRow], None],
    *,
    tick: Callable[[int], None] = lambda step: None,
    after_step: Callable[[Loop, np.ndarray | None], None] = lambda loop, rows: None,
    between_episodes: Callable[[Loop], None] = lambda loop: None,
) -> Loop:
    """Train until ``schedule.training.env_steps`` environment steps are done, from wherever `loop` stands.

    Every metric is written as it comes; `tick` is called after each environment step, `after_step` after its updates,
    with the rows of their last batch, and may change the agent's masks; and `between_episodes` where a training episode
    has ended, with all its metrics written: training from a copy of that loop ends in the same bits.

    Data is collected with the stochastic policy. Evaluation uses the deterministic one, in an environment of its own,
    and touches nothing that training reads. Goal and start of training episode k follow from (run, k).

    Returns:
        `loop`, at its end.

    Raises:
        DivergedError: a loss, a weight or an action became NaN or infinite; it holds the batch and the agent.
        TaskError: the environment gave a reward or an observation that is NaN or infinite.
    """
    training, streams, learner = schedule.training, schedule.streams, loop.learner
    environment, evaluation_environment = make_environment(), make_environment()

    def checked(action: np.ndarray, observation: np.ndarray) -> np.ndarray:
        if not np.isfinite(action).all():
            raise loop.losses.diverged(loop.env_steps, "action", {"observation": observation}, loop.state)
        return action

    def evaluate_now() -> None:
        began = time.perf_counter()
        result = evaluate(
            lambda observation: checked(learner.act_deterministic(observation), observation),
            evaluation_environment,
            schedule.evaluation_seeds,
        )
        row: MetricsRow = {"kind": "evaluation", "env_steps": loop.env_steps, "return": float(np.mean(result.returns))}
        if result.successes is not None:
            row |= {"success": float(np.mean(result.successes)), "successes": result.successes}
        write(row | {"returns": result.returns, "lengths": result.lengths, "seconds": time.perf_counter() - began})

    if loop.env_steps == 0:
        evaluate_now()
    observation = None
    end = training.env_steps if schedule.stop_at is None else schedule.stop_at
    while loop.env_steps < end:
        if observation is None:
            observation = environment.reset(streams.for_purpose("episode", loop.episodes))
        step = loop.env_steps = loop.env_steps + 1
        warming_up = step <= training.warmup_steps
        if warming_up and schedule.warms_up_at_random:
            action = loop.exploration.uniform(-1.0, 1.0, environment.action_size).astype(np.float32)
        else:
            action = checked(learner.act(observation, step), observation)
        outcome = environment.step(action)
        loop.replay.add(observation, action, outcome.reward, outcome.observation, outcome.terminated)
        observation = outcome.observation
        loop.episode.add(outcome)
        tick(step)

        rows = None
        for _ in range(0 if warming_up else training.updates_per_step):
            rows = loop.replay.sample(loop.minibatches, schedule.batch_size)
            told = learner.update(rows)
            loop.losses.add(told.metrics)
            if not told.finite:
                state, batch = loop.state, columns(rows, environment.observation_size, environment.action_size)
                raise loop.losses.diverged(step, _not_finite(told.metrics, state), batch._asdict(), state)
        after_step(loop, rows)
        if step % LOSS_INTERVAL == 0 and not warming_up:
            write(loop.losses.row(step))
        over = outcome.terminated or outcome.truncated
        if over:
            loop.episode.end()
            loop.episodes += 1
            observation = None
        last = step == end
        if (over or last) and loop.episode.due(step, last=last):
            write(loop.episode.row(step))
        if step % schedule.evaluation_interval == 0 or last:
            check_sound(loop)
            evaluate_now()
        if over and not last:
            between_episodes(loop)
    environment.close()
    evaluation_environment.close()
    return loop


def check_sound(loop: Loop) -> None:
    """Make sure of an agent that is to be saved: nothing in it is NaN or infinite, and pruned weights are zero.

    Raises:
        DivergedError: names what is not finite: the optimiser's moments may be where the weights still aren't.
    """
    state = loop.state
    wrong = [name for name, array in to_arrays(state).items() if not np.isfinite(array).all()]
    if wrong:
        raise loop.losses.diverged(loop.env_steps, ", ".join(wrong), {}, state)
    assert loop.learner.algorithm.masks_hold(state), "a pruned weight came back to life"


class LossMeter:
    """Means of the updates' metrics since the last row."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._updates = 0
        self._last: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._began = time.perf_counter()

    def add(self, metrics: dict[str, float]) -> None:
        """Take the metrics of one update."""
        self._before, self._last = self._last, metrics
        for name, value in self._last.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._updates += 1

    def row(self, step: int) -> MetricsRow:
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

    def diverged(self, step: int, bad: str, data: Mapping[str, Any], state: Any) -> DivergedError:
        """The error that says what `bad` was and how the last sound update went, and holds the evidence.

        Args:
            data: what it happened on, by name: the batch, or an observation.
            state: the agent after it.
        """
        sound = self._last if all(map(math.isfinite, self._last.values())) else self._before
        told = ", ".join(f"{name} {value:.6g}" for name, value in sound.items()) or "none"
        evidence = {f"data.{name}": np.asarray(array) for name, array in data.items()}
        evidence |= {f"agent.{name}": array for name, array in to_arrays(state).items()}
        return DivergedError(
            f"Not finite at environment step {step:,}: {bad}. Metrics of the last sound update: {told}. "
            "Lower sac.critic_learning_rate and sac.actor_learning_rate, or sac.reward_scale, "
            "with data=ANOTHER_FOLDER: what diverged stays as a result.",
            evidence,
        )

    def save(self) -> SavedLosses:
        """As plain JSON types; its time goes on where it is restored."""
        elapsed = time.perf_counter() - self._began
        return {"sums": self._sums, "updates": self._updates, "last": self._last, "seconds": elapsed}

    @classmethod
    def restore(cls, saved: SavedLosses) -> "LossMeter":
        """What `save` gave."""
        meter = cls()
        meter._sums, meter._last, meter._updates = dict(saved["sums"]), dict(saved["last"]), saved["updates"]
        meter._began -= saved["seconds"]
        return meter


class EpisodeMeter:
    """Return, length and success of the training episode under way, and means over those since the last row."""

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._episodes = 0
        self._wrote_at = 0
        self._return, self._length = 0.0, 0
        self._success: bool | None = None

    def add(self, outcome: Step) -> None:
        """Take one step."""
        self._return += outcome.reward
        self._length += 1
        if outcome.success is not None:
            self._success = bool(self._success or outcome.success)

    def end(self) -> None:
        """Take what was added so far as one episode."""
        told = {"return": self._return, "length": float(self._length)}
        if self._success is not None:
            told["success"] = float(self._success)
        for name, value in told.items():
            self._ended[name] = self._ended.get(name, 0.0) + value
        self._episodes += 1
        self._return, self._length, self._success = 0.0, 0, None

    def due(self, step: int, *, last: bool) -> bool:
        """Whether there is something to write, and the last row is far enough behind or no step comes after this."""
        return self._episodes > 0 and (last or step - self._wrote_at >= EPISODE_INTERVAL)

    def row(self, step: int) -> MetricsRow:
        """Means over the episodes that ended since the last row, and their number."""
        means = {name: total / self._episodes for name, total in self._ended.items()}
        row: MetricsRow = {"kind": "episode", "env_steps": step, **means, "episodes": self._episodes}
        self._ended, self._episodes, self._wrote_at = {}, 0, step
        return row

    def save(self) -> SavedEpisodes:
        """As plain JSON types, between two episodes."""
        return {"ended": self._ended, "episodes": self._episodes, "wrote_at": self._wrote_at}

    @classmethod
    def restore(cls, saved: SavedEpisodes) -> "EpisodeMeter":
        """What `save` gave."""
        meter = cls()
        meter._ended, meter._episodes, meter._wrote_at = dict(saved["ended"]), saved["episodes"], saved["wrote_at"]
        return meter


def _not_finite(metrics: dict[str, float], state: Any) -> str:
    """Names of the metrics and weights that are NaN or infinite."""
    named: dict[str, Any] = dict(metrics) | {f"weight {name}": array for name, array in to_arrays(state.params).items()}
    return ", ".join(name for name, value in named.items() if not np.isfinite(value).all())
