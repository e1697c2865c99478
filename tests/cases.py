"""Every algorithm with a task that it learns: where the tests of all algorithms take their parameters from.

A new algorithm gets a row in `CASES` for each kind of actions that it can learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import jax
import numpy as np
import pytest

from rlottery.activations import Activation
from rlottery.agents.algorithms import ALGORITHMS
from rlottery.agents.base import Algorithm, functions_of, to_arrays
from rlottery.agents.description import Description, Spec
from rlottery.config import Config
from rlottery.storage.transitions import Transitions, one_hot


@dataclass(frozen=True, eq=False)
class Case:
    """An algorithm on a task.

    Attributes:
        task: one that it can learn.
        spec: sizes of the task's observations and actions.
        section: settings of its section that suit runs of a few hundred steps.
        training: when it is updated in such runs; every second step if it learns from replay.
        activation: of the hidden layers, unless a test asks for another.
    """

    name: str
    task: str
    spec: Spec
    section: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=lambda: {"warmup_steps": 60, "updates_per_step": 0.5})
    activation: Activation = "relu"

    def __str__(self) -> str:
        return f"{self.name}-{self.task}" + ("" if self.activation == "relu" else f"-{self.activation}")

    @property
    def description(self) -> Description:
        return ALGORITHMS[self.name]

    @property
    def algorithm(self) -> Algorithm:
        return functions_of(self.description)

    @property
    def groups(self) -> tuple[str, ...]:
        return self.description.groups

    def settings(
        self, *hidden: int, actor: tuple[int, ...] = (), activation: Activation | None = None, **section: Any
    ) -> Any:
        """What the algorithm's functions take, with these hidden widths in all networks and further settings.

        Args:
            actor: hidden widths of the actor, if it has others.
        """
        study = {"tasks": [self.task], "seeds": [0], "algorithm": self.name, self.name: {**self.section, **section}}
        network: dict[str, Any] = {
            group: list(actor if actor and group == "actor" else hidden) for group in self.groups
        }
        config = Config.model_validate(study | {"network": network | {"activation": activation or self.activation}})
        return self.description.fit(self.description.settings(config, config.tasks[0]), self.spec)

    def fresh(self, settings: Any, seed: int = 0, spec: Spec | None = None) -> Any:
        """A dense agent of its own arrays: an update uses up those that it is given."""
        return _initialised(self.algorithm, spec or self.spec, settings)(jax.random.key(seed))

    def transitions(self, seed: int = 0, size: int = 16) -> Transitions:
        """Plausible ones; for an on-policy algorithm, with the ends of episodes."""
        drawn = random_batch(self.spec, seed, size)
        if self.algorithm.prepare is None:
            return drawn
        return drawn._replace(ends=np.maximum(drawn.terminations, np.arange(size) % 7 == 6).astype(np.float32))

    def batch(self, seed: int = 0, size: int = 16) -> Any:
        """What an update reads: transitions, or a part of a prepared rollout."""
        drawn = self.transitions(seed, size)
        if self.algorithm.prepare is None:
            return drawn
        judged = np.random.default_rng(seed).normal(-1.0, 0.5, (size, 3))
        rows = np.concatenate([drawn.observations, drawn.actions, judged], axis=1).astype(np.float32)
        return self.algorithm.batch(rows, self.spec)


_ROLLOUTS = {"rollout_steps": 10, "batch_size": 5, "epochs": 2, "linear_decay": True}
_NORMALIZED = {**_ROLLOUTS, "normalize_observations": True, "normalize_rewards": True}
CASES = (
    Case("sac", "Pendulum-v1", Spec(3, 1), {"batch_size": 16}),
    Case("td3", "Pendulum-v1", Spec(3, 1), {"batch_size": 16}),
    Case(
        "dqn",
        "CartPole-v1",
        Spec(4, 2, discrete=True),
        {"batch_size": 16, "exploration_steps": 100, "target_interval": 20},
    ),
    Case("ppo", "Pendulum-v1", Spec(3, 1), _NORMALIZED, training={}),
    Case("ppo", "CartPole-v1", Spec(4, 2, discrete=True), _ROLLOUTS, training={}),
)
SAC, TD3, DQN, PPO, PPO_DISCRETE = CASES
EACH = pytest.mark.parametrize("case", CASES, ids=str)
CONTINUOUS = pytest.mark.parametrize("case", [case for case in CASES if not case.spec.discrete], ids=str)
OTHERS = pytest.mark.parametrize("case", CASES[1:], ids=str)
"""All but SAC, with which everything is tested anyway."""


def case_called(name: str) -> Case:
    """The case of an algorithm, or of an algorithm on a task: ``ppo`` or ``ppo-CartPole-v1``."""
    found = [case for case in CASES if name in (case.name, str(case))]
    if not found:
        raise SystemExit(f"No case is called {name}; there are: {', '.join(map(str, CASES))}.")
    return found[0]


@cache
def _initialised(algorithm: Algorithm, spec: Spec, settings: Any) -> Any:
    @jax.jit
    def make(key: jax.Array) -> Any:
        weights, noise = jax.random.split(key)
        return algorithm.init(algorithm.init_params(weights, spec, settings), noise, settings)

    return make


@cache
def updated(algorithm: Algorithm, settings: Any) -> Any:
    """(state, batch) -> (state, metrics), compiled once for all tests."""
    return jax.jit(partial(algorithm.update, settings=settings))


def random_batch(spec: Spec, seed: int = 0, size: int = 16) -> Transitions:
    """Plausible transitions, about a third of them terminal."""
    rng = np.random.default_rng(seed)
    observations, actions = spec.sizes
    chosen = (
        one_hot(rng.integers(actions, size=size), actions) if spec.discrete else rng.uniform(-1, 1, (size, actions))
    )
    return Transitions(
        observations=rng.normal(size=(size, observations)).astype(np.float32),
        actions=chosen.astype(np.float32),
        rewards=rng.normal(size=size).astype(np.float32),
        next_observations=rng.normal(size=(size, observations)).astype(np.float32),
        terminations=(rng.random(size) < 0.3).astype(np.float32),
    )


def places(case: Case, state: Any, group: str, path: str) -> dict[str, np.ndarray]:
    """`held` of an agent's state."""
    return held(case, weights_of(state), group, path)


def weights_of(state: Any) -> dict[str, np.ndarray]:
    """All arrays of an agent's state by name, but for its masks."""
    return {name: array for name, array in to_arrays(state).items() if not name.startswith("masks.")}


def held(case: Case, agent: Mapping[str, np.ndarray], group: str, path: str) -> dict[str, np.ndarray]:
    """All that a saved agent holds for the weights of one kernel, by name.

    That is as many arrays as the description says: the weights, targets, the optimiser's moments.
    """
    others = set(case.groups) - {group}
    found = {
        name: array
        for name, array in agent.items()
        if name.endswith(f".{path}.kernel") and not any(other in name for other in others)
    }
    assert len(found) == case.description.copies[group], found.keys()
    return found
