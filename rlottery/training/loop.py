"""The training loop: collect, update, evaluate, record. Every arm is trained by it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from rlottery.agents.base import jax_key, to_arrays
from rlottery.agents.description import Rollouts, Spec
from rlottery.config import Training
from rlottery.envs import Environment
from rlottery.errors import DivergedError, TaskError
from rlottery.seeding import Streams
from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.progress import Phase
from rlottery.training.agent_metrics import agent_row
from rlottery.training.dynamic_sparsity import DynamicSparsity
from rlottery.training.evaluation import evaluate
from rlottery.training.learner import Learner, stacked
from rlottery.training.meters import EpisodeMeter, LossMeter
from rlottery.training.minibatches import from_replay, from_rollout
from rlottery.training.open_episodes import OpenEpisode, play_again
from rlottery.training.replay_buffer import ReplayBuffer
from rlottery.training.rewind_points import RewindPoints

LOSS_INTERVAL = 1_000
"""Environment steps between two rows of losses in the metrics; more if there was no update in the meantime."""
SAVE_INTERVAL = 100
"""The most environment steps until training with several environments can be saved; with more, each step of them all.

So many updates on large batches take less time than clusters give a process after SIGTERM. It doesn't bound the updates
on a rollout, which are made within one step.
"""


@dataclass(frozen=True)
class TrainingPlan:
    """How one run is trained.

    With several environments, all steps in it are multiples of their number.

    Attributes:
        evaluation_interval: environment steps between evaluations. There is also one at step 0 and one at the end.
        evaluation_seeds: seeds of the episodes of an evaluation.
        warms_up_at_random: the warm-up's actions are uniformly random, not the policy's.
        steps_before: the agent's environment steps before this run. Schedules of exploration continue from there.
        stop_at: ends training at this step, before `training.env_steps`, and changes nothing else.
        dynamic: how the masks change during training; None if they don't.
        rollouts: how an on-policy agent collects data and learns from it; None for one that learns from replay.
    """

    training: Training
    batch_size: int
    evaluation_interval: int
    evaluation_seeds: Sequence[int]
    streams: Streams
    warms_up_at_random: bool = True
    steps_before: int = 0
    stop_at: int | None = None
    dynamic: DynamicSparsity | None = None
    rollouts: Rollouts | None = None

    @property
    def last_step(self) -> int:
        """The environment step at which training ends."""
        return self.training.env_steps if self.stop_at is None else self.stop_at


class Recorder(Protocol):
    """Receives what a run reports while it trains: rows of metrics, the environment steps done, and phases.

    `tick` is called after each environment step, and again after each update that follows it.
    """

    def write(self, row: MetricsRow) -> None: ...
    def tick(self, step: int) -> None: ...
    def enter(self, phase: Phase | None) -> None: ...


@dataclass
class Loop:
    """The state of training between two steps: everything that the next step depends on.

    Environments are not part of it: an episode depends only on the seed of its reset and on its actions.

    Attributes:
        minibatches, exploration: generators of minibatch indices and of random warm-up actions.
        env_steps, episodes: done so far, in all environments.
        open: the current episode of each environment; None where the next step begins one.
    """

    learner: Learner
    spec: Spec
    replay: ReplayBuffer
    minibatches: np.random.Generator
    exploration: np.random.Generator
    losses: LossMeter = field(default_factory=LossMeter)
    episode: EpisodeMeter = field(default_factory=EpisodeMeter)
    env_steps: int = 0
    episodes: int = 0
    open: list[OpenEpisode | None] = field(default_factory=list)


def begin(learner: Learner, plan: TrainingPlan, spec: Spec) -> Loop:
    """The state of training before the first step."""
    minibatches, exploration = (plan.streams.generator(purpose) for purpose in ("minibatches", "warm-up actions"))
    replay = ReplayBuffer(plan.training.capacity, *spec.sizes, with_ends=plan.rollouts is not None)
    return Loop(learner, spec, replay, minibatches, exploration, open=[None] * plan.training.environments)


def action_noise(streams: Streams) -> np.ndarray:
    """The seed of a run's action noise, as the two words of a JAX key."""
    return np.asarray(jax.random.key_data(jax_key(streams.for_purpose("actions"))))


def train(
    loop: Loop,
    plan: TrainingPlan,
    make_environment: Callable[[], Environment],
    recorder: Recorder,
    rewind_points: RewindPoints | None = None,
) -> Iterator[Loop]:
    """Train from the current state of `loop` to the plan's last step.

    Data is collected with the stochastic policy. The deterministic policy is evaluated in separate environments;
    evaluations change nothing that training depends on. Start and goal of training episode k depend only on the run
    and on k. With n environments, all take a step, which are n environment steps; then the updates due are made.

    Args:
        make_environment: called several times. The environments are the caller's, who closes them.
        recorder: receives metrics as they arise.
        rewind_points: saves the agent at certain steps.

    Yields:
        `loop`, whenever a training episode has ended before the last step, and all its metrics are written; with
        several environments also every `SAVE_INTERVAL` steps. Here training can be saved or stopped: it continues
        from a copy of `loop` with the same bits.

    Raises:
        DivergedError: a loss, a weight or an action became NaN or infinite. The error holds the batch and the agent.
        TaskError: the environment returned something else than its spaces and Gymnasium's interface say, its sizes
            differ from `loop.spec`, or an open episode takes another course when it is played again.
    """
    environments = [make_environment() for _ in loop.open]
    evaluation_environments = [make_environment() for _ in loop.open[: len(plan.evaluation_seeds)]]
    for made in (*environments, *evaluation_environments):
        check_sizes(made, loop.spec)
    collector = _Collector(environments, plan)
    collector.continue_episodes(loop)
    if loop.env_steps == 0:
        recorder.enter("evaluating")
        recorder.write(evaluation_row(loop, plan, evaluation_environments))
        recorder.enter(None)
    compiled = False  # the first update is compiled when it is called
    updates_made = plan.training.updates_by(loop.env_steps)
    while (before := loop.env_steps) < plan.last_step:
        ended = collector.step(loop)
        step, is_last = loop.env_steps, loop.env_steps == plan.last_step
        recorder.tick(step)
        updates = plan.training.updates_by(step) - updates_made
        updates_made += updates
        if not compiled and updates:
            recorder.enter("compiling")
        batch = None
        for rows in _updates(loop, plan, updates):
            batch = rows
            if not compiled:
                recorder.enter(None)
                compiled = True
            recorder.tick(step)
        if plan.dynamic is not None and plan.dynamic.due(step):
            if batch is None:  # there are fewer updates than steps
                batch = loop.replay.sample(loop.minibatches, plan.batch_size)
            seen = loop.learner.algorithm.batch(batch, loop.spec)
            loop.learner.state = plan.dynamic.update(loop.learner.state, step, seen)
        if rewind_points is not None and rewind_points.due(step):
            check_sound(loop)
            rewind_points.save(step, loop.learner.state)
        if loop.losses.updates and step // LOSS_INTERVAL > before // LOSS_INTERVAL:
            recorder.write(loop.losses.row(step))
        if (ended or is_last) and loop.episode.due(step, last=is_last):
            recorder.write(loop.episode.row(step))
        if step % plan.evaluation_interval == 0 or is_last:
            check_sound(loop)
            learner, stored = loop.learner, loop.replay.stored()
            about = learner.algorithm, learner.networks, learner.state
            recorder.write(agent_row(*about, stored, step, updates_made))
            recorder.write(evaluation_row(loop, plan, evaluation_environments))
        can_be_saved = ended or (len(environments) > 1 and step // SAVE_INTERVAL > before // SAVE_INTERVAL)
        if can_be_saved and not is_last:
            yield loop


def collect(loop: Loop, plan: TrainingPlan, make_environment: Callable[[], Environment]) -> None:
    """Take environment steps to the plan's last one with the loop's agent, which learns nothing from them.

    They are in `loop.replay`. Raises as `train`.
    """
    collector = _Collector([make_environment() for _ in loop.open], plan)
    while loop.env_steps < plan.last_step:
        collector.step(loop)


def check_sizes(environment: Environment, spec: Spec) -> None:
    """Raise TaskError unless an environment has these sizes."""
    found = Spec.of(environment)
    if found != spec:
        raise TaskError(
            f"The task's spaces change from one environment to the next: {spec.observation_size} and then "
            f"{found.observation_size} entries of observations, {spec.action_size} {spec.actions} and then "
            f"{found.action_size} {found.actions} entries of actions. Make them depend on the arguments of the task "
            "alone."
        )


def check_sound(loop: Loop) -> None:
    """Check an agent that will be saved: all its numbers are finite, and its pruned weights are zero.

    Raises:
        DivergedError: names what is not finite. The optimiser's moments can be infinite while the weights are not yet.
    """
    state = loop.learner.state
    wrong = [name for name, array in to_arrays(state).items() if not np.isfinite(array).all()]
    if wrong:
        raise _diverged(loop, ", ".join(wrong), {}, state)
    assert loop.learner.algorithm.masks_hold(state), "a pruned weight is no longer zero"


class _Collector:
    """Takes the steps of training in its environments, and adds them to the replay buffer."""

    def __init__(self, environments: Sequence[Environment], plan: TrainingPlan):
        self._environments, self._plan = environments, plan

    def continue_episodes(self, loop: Loop) -> None:
        """Bring new environments to where those of the open episodes were."""
        loop.episode = EpisodeMeter.restore(loop.episode.save())  # without them
        for index, (environment, episode) in enumerate(zip(self._environments, loop.open, strict=True)):
            if episode is not None:
                for step in play_again(environment, self._seed(episode.number), episode):
                    loop.episode.add(step, index)

    def step(self, loop: Loop) -> bool:
        """Take one step in each environment, in a new episode if the last one is over.

        Returns:
            whether an episode has ended.
        """
        episodes, before = self._episodes(loop), loop.episodes
        loop.env_steps += len(episodes)
        actions = self._actions(loop, stacked([episode.observation for episode in episodes]))
        for index, (environment, episode, action) in enumerate(zip(self._environments, episodes, actions, strict=True)):
            outcome = environment.step(action)
            ends = outcome.terminated, outcome.over
            loop.replay.add(episode.observation, action, outcome.reward, outcome.observation, *ends)
            loop.episode.add(outcome, index)
            loop.episodes += outcome.over
            if len(episodes) > 1:  # a single one is over whenever training is saved
                episode.actions.append(action)
            episode.observation = outcome.observation
            if outcome.over:
                loop.open[index] = None
        return loop.episodes > before

    def _episodes(self, loop: Loop) -> list[OpenEpisode]:
        """The current episode of each environment; a new one where there is none."""
        episodes = []
        for index, (environment, current) in enumerate(zip(self._environments, loop.open, strict=True)):
            if current is None:
                number = loop.episodes + sum(episode is not None for episode in loop.open)  # so many have begun
                current = loop.open[index] = OpenEpisode(number, environment.reset(self._seed(number)))
            episodes.append(current)
        return episodes

    def _seed(self, number: int) -> int:
        return self._plan.streams.for_purpose("episode", number)

    def _actions(self, loop: Loop, observations: np.ndarray) -> np.ndarray:
        """Actions (n, act) for observations (n, obs), at the last n environment steps."""
        if self._plan.warms_up_at_random and loop.env_steps <= self._plan.training.warmup_steps:
            return self._environments[0].actions.random(loop.exploration, len(observations))
        first_step = loop.env_steps - len(observations) + 1
        actions = loop.learner.act_together(observations, first_step, self._plan.steps_before)
        return _checked_actions(loop, actions, observations)


def _updates(loop: Loop, plan: TrainingPlan, updates: int) -> Iterator[np.ndarray]:
    """Make so many updates, and yield the rows of each one's batch. An on-policy agent makes all of a rollout's."""
    for batch in _batches(loop, plan, updates):
        result = loop.learner.update(batch)
        loop.losses.add(result.metrics)
        if not result.finite:
            state = loop.learner.state
            raise _diverged(loop, _not_finite(result.metrics, state), _named(loop, batch), state)
        yield batch


def _batches(loop: Loop, plan: TrainingPlan, updates: int) -> Iterator[np.ndarray]:
    if plan.rollouts is not None and updates:
        return from_rollout(loop.replay, loop.minibatches, loop.learner, plan.rollouts)
    return from_replay(loop.replay, loop.minibatches, plan.batch_size, updates)


def _named(loop: Loop, batch: np.ndarray) -> dict[str, Any]:
    """The fields of a batch's rows by name."""
    fields: dict[str, Any] = loop.learner.algorithm.batch(batch, loop.spec)._asdict()
    return {name: field for name, field in fields.items() if field is not None}


def evaluation_row(loop: Loop, plan: TrainingPlan, environments: Sequence[Environment]) -> MetricsRow:
    """Evaluate the deterministic policy."""
    began = time.perf_counter()

    def choose(observations: np.ndarray) -> np.ndarray:
        return _checked_actions(loop, loop.learner.act_deterministic_together(observations), observations)

    found = evaluate(choose, environments, plan.evaluation_seeds)
    row: MetricsRow = {"kind": "evaluation", "env_steps": loop.env_steps, "return": float(np.mean(found.returns))}
    if found.successes is not None:
        row |= {"success": float(np.mean(found.successes)), "successes": found.successes}
    return row | {"returns": found.returns, "lengths": found.lengths, "seconds": time.perf_counter() - began}


def _checked_actions(loop: Loop, actions: np.ndarray, observations: np.ndarray) -> np.ndarray:
    for action, observation in zip(actions, observations, strict=True):
        if not np.isfinite(action).all():
            raise _diverged(loop, "action", {"observation": observation}, loop.learner.state)
    return actions


def _diverged(loop: Loop, what: str, data: Mapping[str, Any], state: Any) -> DivergedError:
    """The error that says what is not finite and how the last finite update went, and holds the data and the agent.

    Args:
        data: what it happened on, by name: the batch, or an observation.
        state: the agent afterwards.
    """
    metrics = ", ".join(f"{name} {value:.6g}" for name, value in loop.losses.last_finite.items()) or "none"
    arrays = {f"data.{name}": np.asarray(array) for name, array in data.items()}
    arrays |= {f"agent.{name}": array for name, array in to_arrays(state).items()}
    return DivergedError(
        f"Not finite at environment step {loop.env_steps:,}: {what}. Metrics of the last finite update: {metrics}. "
        f"{loop.learner.algorithm.description.divergence_advice}, and use data=ANOTHER_FOLDER: this run keeps its "
        "result, which is that it diverged.",
        arrays,
    )


def _not_finite(metrics: dict[str, float], state: Any) -> str:
    """Names of the metrics and weights that are NaN or infinite."""
    named: dict[str, Any] = dict(metrics) | {f"weight {name}": array for name, array in to_arrays(state.params).items()}
    return ", ".join(name for name, value in named.items() if not np.isfinite(value).all())
