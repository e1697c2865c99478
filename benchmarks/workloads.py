"""The timed workloads, run in a separate process that is pinned before this file and JAX are imported."""

import importlib.metadata
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import cycle
from typing import Any, NamedTuple, Self, cast

import jax
import numpy as np
import threadpoolctl

from benchmarks.flops import METAWORLD
from benchmarks.ratios import units_per_second
from rlottery import config, envs
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import kernels, nest_masks
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC, SACState
from rlottery.pruning.criteria import CRITERIA, score, statistics_for
from rlottery.pruning.masks import GroupMask
from rlottery.pruning.prune import Rule, prune
from rlottery.pruning.ranking import Scores
from rlottery.seeding import Streams
from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.transitions import Transitions
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import TrainingPlan, action_noise, begin, train
from rlottery.training.replay_buffer import ReplayBuffer
from rlottery.training.saliency import Statistics, as_initial, gather_statistics

TASK = "drawer-close-v3"
EPISODE_STEPS = 500
"""Length of every Meta-World episode."""

PIECE_STEPS = 125
"""Steps of the training loop between two measurements of update and environment alone: a quarter of an episode."""

PIECE_UPDATES = 30
REPLAY_SIZE = 25_000
GRADIENT_BATCHES = 100
SETTINGS = SACSetup(config.SACSettings(batch_size=METAWORLD.batch_size), config.NetworkSettings())
SPEC = Spec(METAWORLD.observation_size, METAWORLD.action_size)
STREAMS = Streams("speed", TASK, 0, "dense")
GEMM_SIZE = 256


def describe() -> dict[str, Any]:
    """The software: versions, the BLAS kernel of NumPy, and the variables that choose it."""
    blas = [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    names = [f"{b['internal_api']} {b.get('version')} {b.get('architecture', '')}".strip() for b in blas]
    packages = ("jax", "jaxlib", "numpy", "metaworld")
    return {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "blas_kernel": ", ".join(dict.fromkeys(names)) or "not known to threadpoolctl",
        "blas_threads": max((b["num_threads"] for b in blas), default=None),
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "xla_flags": os.environ.get("XLA_FLAGS"),
    }


def rate(work: str, seconds: float, start: float = 0.0) -> float:
    """Units of `work` per second, run one after the other for `seconds`.

    Args:
        work: "gemm" (one matrix product of 256 x 256 x 256), or an update of an agent that `Agent.read` knows;
            "update_with_sampling" is a dense update whose batches are sampled from the replay buffer.
        start: the value of `time.monotonic` at which to start. Two workers with the same value run at the same time.
    """
    if work == "gemm":
        unit = gemm()
    elif work == "update_with_sampling":
        unit = _updates(Agent.read("update"), samples=True)
    else:
        unit = _updates(Agent.read(work))
    while time.monotonic() < start:
        pass
    return units_per_second(unit, seconds)


def loop(work: str, steps: int) -> dict[str, float]:
    """Environment steps per second of the training loop on Meta-World, without evaluations.

    Args:
        work: an agent that `Agent.read` knows.
        steps: timed steps, which follow a first episode that is not timed.
    """
    marks: dict[int, float] = {}
    _train(Agent.read(work), EPISODE_STEPS + steps, lambda step: marks.setdefault(step, time.monotonic()))
    return {"loop": steps / (marks[EPISODE_STEPS + steps] - marks[EPISODE_STEPS])}


def training_loop(work: str, rounds: int) -> list[dict[str, float]]:
    """Rates of an agent's training loop, of updates alone and of the environment alone. A round is an episode.

    One call of `train` runs all rounds. It is interrupted four times per episode to time update and environment alone,
    so that changes on the machine affect all three. Evaluations are not timed. Each round has one reset, in the loop
    and in the environment alone, which takes random actions.
    """
    agent = Agent.read(work)
    update, walk = _updates(agent), _walk()
    loop_seconds: list[float] = []
    update_seconds: list[float] = []
    environment_seconds: list[float] = []
    began, seen = 0.0, 0

    def tick(step: int) -> None:  # after the environment's step, and again after each of its updates
        nonlocal began, seen
        if step < EPISODE_STEPS or step % PIECE_STEPS or step == seen:
            return
        seen = step
        if step > EPISODE_STEPS:
            loop_seconds.append((time.monotonic() - began) / PIECE_STEPS)
            update_seconds.append(_seconds_each(update, PIECE_UPDATES))
            environment_seconds.append(_seconds_each(walk, PIECE_STEPS))
        began = time.monotonic()

    _train(agent, EPISODE_STEPS * (1 + rounds), tick)

    def rates(seconds: list[float]) -> list[float]:
        return [float(each) for each in 1.0 / np.reshape(seconds, (rounds, -1)).mean(axis=1)]

    columns = zip(rates(loop_seconds), rates(update_seconds), rates(environment_seconds), strict=True)
    return [dict(zip(("loop", "update", "environment"), column, strict=True)) for column in columns]


def gradient_mask() -> dict[str, float]:
    """Seconds for a Taylor mask from 100 batches of 256: without compilation, and in total."""
    state, generator = fresh_state(), _TimedGenerator(np.random.PCG64(0))
    began = time.monotonic()
    # One additional batch, the first, which compiles.
    statistics = gather_statistics(
        SAC,
        SETTINGS,
        state,
        statistics_for("taylor").trained,
        stored=random_replay(),
        key=jax.random.key(0),
        generator=generator,
        batches=1 + GRADIENT_BATCHES,
        batch_size=METAWORLD.batch_size,
    )
    _masks("taylor", statistics)
    ended = time.monotonic()
    return {"compiled": ended - generator.draws[1], "with_compilation": ended - began}


def magnitude_mask() -> float:
    """Seconds for a magnitude mask of all networks."""
    state = fresh_state()
    began = time.monotonic()
    _masks("magnitude", gather_statistics(SAC, SETTINGS, state, statistics_for("magnitude").trained))
    return time.monotonic() - began


def score_and_prune(criterion: str) -> float:
    """Seconds for masks of all networks at 80 % sparsity, by any criterion. The first call compiles."""
    state, stored, turns = fresh_state(), random_replay(), CRITERIA[criterion].iterations
    needed = statistics_for(criterion)
    began = time.monotonic()
    masked = state
    for turn in range(1, turns + 1):
        found = gather_statistics(
            SAC,
            SETTINGS,
            masked,
            needed.trained or needed.initial,
            stored=stored,
            key=jax.random.key(0),
            generator=np.random.default_rng(0),
            uniform=np.random.default_rng(1),
            batches=GRADIENT_BATCHES,
            batch_size=METAWORLD.batch_size,
        )
        sparsity = 1 - 0.2 ** (turn / turns)
        statistics = found if needed.trained else as_initial(found)
        masks = {group: prune(score(criterion, of_group), sparsity) for group, of_group in statistics.items()}
        if turn < turns:
            masked = SAC.with_masks(state, nest_masks(masks))
    return time.monotonic() - began


class _TimedGenerator(np.random.Generator):
    """Records when each batch was sampled."""

    def __init__(self, bits: np.random.BitGenerator):
        super().__init__(bits)
        self.draws: list[float] = []

    def integers(self, *args: Any, **kwargs: Any) -> Any:
        self.draws.append(time.monotonic())
        return super().integers(*args, **kwargs)


def _masks(criterion: str, statistics: Statistics) -> dict[str, GroupMask]:
    shares: dict[str, float] = dict(config.Pruning().sparsity)
    return {group: prune(score(criterion, of_group), shares[group]) for group, of_group in statistics.items()}


@cache
def gemm() -> Callable[[], object]:
    """One matrix product of `GEMM_SIZE` in each direction."""
    generator = np.random.default_rng(0)
    left, right, product = generator.standard_normal((3, GEMM_SIZE, GEMM_SIZE), dtype=np.float32)
    return partial(np.dot, left, right, out=product)


class Agent(NamedTuple):
    """The agent that is updated: a dense agent, or a ticket at the start of its training.

    Attributes:
        width: units of each of the two hidden layers.
        allocation: None for a dense agent; "uniform" and "erk" keep random weights, "global" those with the highest
            Taylor scores of a fresh agent, ranked across layers.
        sparsity: of all networks.
        kernels: False for the masked dense path without compiled kernels.
    """

    width: int
    allocation: Rule | None = None
    sparsity: float = 0.0
    kernels: bool | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """``update``, ``update:WIDTH``, ``ticket:ALLOCATION:SPARSITY`` or ``ticket:ALLOCATION:SPARSITY:WIDTH``.

        The prefix ``masked-`` turns the compiled kernels off.
        """
        kernels = False if text.startswith("masked-") else None
        kind, *rest = text.removeprefix("masked-").split(":")
        if kind == "update":
            return cls(int(rest[0]) if rest else 256, kernels=kernels)
        assert kind == "ticket", text
        width = int(rest[2]) if len(rest) > 2 else 256
        return cls(width, cast(Rule, rest[0]), float(rest[1]), kernels)

    @property
    def settings(self) -> SACSetup:
        widths = (self.width, self.width)
        return SACSetup(SETTINGS.hyperparameters, config.NetworkSettings(actor=widths, critic=widths))

    def learner(self) -> CpuLearner:
        """A learner with fresh weights."""
        state = fresh_state(self.settings)
        if self.allocation is not None:
            generator = np.random.default_rng(0)
            if self.allocation == "global":
                scores = _taylor_scores(state, self.settings, generator)
            else:
                by_group = {group: kernels(tree) for group, tree in state.params.items()}
                scores = {g: {p: generator.random(k.shape) for p, k in of.items()} for g, of in by_group.items()}
            masks = {g: prune(of, self.sparsity, allocation=self.allocation, group=g) for g, of in scores.items()}
            state = SAC.with_masks(state, nest_masks(masks))
        return CpuLearner(SAC, self.settings, state, SPEC, action_noise(STREAMS), kernels=self.kernels)


def _taylor_scores(state: SACState, settings: SACSetup, generator: np.random.Generator) -> dict[str, Scores]:
    statistics = gather_statistics(
        SAC,
        settings,
        state,
        statistics_for("taylor").trained,
        stored=random_replay(),
        key=jax.random.key(0),
        generator=generator,
        batches=4,
        batch_size=METAWORLD.batch_size,
    )
    return {group: score("taylor", of_group) for group, of_group in statistics.items()}


@dataclass(frozen=True)
class _Ticks:
    """A recorder that only passes steps on."""

    on_step: Callable[[int], object]

    def write(self, row: MetricsRow) -> None:
        """Ignore metrics."""

    def tick(self, step: int) -> None:
        """Pass the step on."""
        self.on_step(step)

    def enter(self, phase: str | None) -> None:
        """Ignore phases."""


def _train(agent: Agent, env_steps: int, tick: Callable[[int], object]) -> None:
    """Train. The first episode has random actions, except for its last 100 steps, in which updates are compiled."""
    plan = TrainingPlan(
        training=config.Training(env_steps=env_steps, warmup_steps=EPISODE_STEPS - 100),
        batch_size=METAWORLD.batch_size,
        evaluation_interval=env_steps,
        evaluation_seeds=[1],
        streams=STREAMS,
    )
    loop = begin(agent.learner(), plan, SPEC)
    for _ in train(loop, plan, partial(envs.make, TASK), _Ticks(tick)):
        pass


@cache
def _updates(agent: Agent, *, samples: bool = False) -> Callable[[], object]:
    """One update as in training, on existing batches or on batches sampled from a replay buffer."""
    generator, learner, buffer = np.random.default_rng(1), agent.learner(), ReplayBuffer(REPLAY_SIZE, *SPEC.sizes)
    buffer.extend(random_replay())
    batches = cycle([buffer.sample(generator, METAWORLD.batch_size) for _ in range(16)])

    def draw() -> np.ndarray:
        return buffer.sample(generator, METAWORLD.batch_size) if samples else next(batches)

    for _ in range(3):
        learner.update(draw())
    return lambda: learner.update(draw())


def _walk() -> Callable[[], object]:
    """One step of an environment with random actions, and a reset after the end of an episode."""
    environment = envs.make(TASK)
    generator = np.random.default_rng(2)
    actions = generator.uniform(-1.0, 1.0, (EPISODE_STEPS, METAWORLD.action_size)).astype(np.float32)
    steps = cycle(actions)
    episode = 1
    environment.reset(episode)

    def unit() -> object:
        nonlocal episode
        outcome = environment.step(next(steps))
        if outcome.over:
            episode += 1
            environment.reset(episode)
        return outcome

    return unit


def _seconds_each(unit: Callable[[], object], units: int) -> float:
    began = time.monotonic()
    for _ in range(units):
        unit()
    return (time.monotonic() - began) / units


def fresh_state(settings: SACSetup = SETTINGS) -> SACState:
    weights, noise = jax.random.split(jax.random.key(0))
    state: SACState = SAC.init(SAC.init_params(weights, SPEC, settings), noise, settings)
    return state


@cache
def random_replay() -> Transitions:
    """Random transitions: the speed of dense arithmetic doesn't depend on their values."""
    generator = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal((REPLAY_SIZE, *shape), dtype=np.float32)

    return Transitions(
        observations=normal(METAWORLD.observation_size),
        actions=np.tanh(normal(METAWORLD.action_size)),
        rewards=normal(),
        next_observations=normal(METAWORLD.observation_size),
        terminations=np.zeros(REPLAY_SIZE, np.float32),
    )
