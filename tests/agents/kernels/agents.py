"""Agents of middling size, its tickets, and plausible transitions, for the tests of compact training."""

import os
import subprocess
import sys
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlottery.agents.base import kernels, nest_masks, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.kernels.library import VARIABLE
from rlottery.pruning.masks import GroupMask
from rlottery.pruning.prune import Rule, prune
from rlottery.storage.transitions import one_hot
from rlottery.training.compilation import compile_update, compiler_options
from rlottery.training.learner import CpuLearner
from tests.cases import SAC, Case
from tests.compiler_options import AS_USERS_HAVE_IT

SPEC = Spec(observation_size=11, action_size=3)
BATCH_SIZE, ROLLOUT = 50, 150
NOISE = np.array([1, 2], np.uint32)


@cache
def settings_of(case: Case) -> Any:
    return case.settings(64, 48, batch_size=BATCH_SIZE, **({"rollout_steps": ROLLOUT} if case.name == "ppo" else {}))


def spec_of(case: Case) -> Spec:
    return SPEC._replace(discrete=case.spec.discrete)


SETTINGS = settings_of(SAC)


def fresh(seed: int = 0, case: Case = SAC) -> Any:
    """A dense agent; own arrays, as an update uses up those that it is given."""
    return case.fresh(settings_of(case), seed, spec_of(case))


def random_masks(
    sparsity: float, allocation: Rule = "uniform", seed: int = 0, case: Case = SAC
) -> dict[str, GroupMask]:
    generator, params = np.random.default_rng(seed), fresh(case=case).params
    shapes = {group: {path: k.shape for path, k in kernels(tree).items()} for group, tree in params.items()}
    scores = {group: {path: generator.random(shape) for path, shape in of.items()} for group, of in shapes.items()}
    return {group: prune(of, sparsity, allocation=allocation) for group, of in scores.items()}


def ticket(sparsity: float, allocation: Rule = "uniform", seed: int = 0, case: Case = SAC) -> Any:
    masks = random_masks(sparsity, allocation, seed, case)
    return case.algorithm.with_masks(fresh(seed, case), nest_masks(masks))


def copied(state: Any) -> Any:
    return jax.tree.map(jnp.copy, state)


def learner(state: Any, *, kernels: bool, masks_change: bool = False, case: Case = SAC) -> CpuLearner:
    arguments = case.algorithm, settings_of(case), copied(state), spec_of(case), NOISE
    return CpuLearner(*arguments, kernels=kernels, masks_change=masks_change)


@cache
def transitions(number: int, case: Case = SAC) -> list[np.ndarray]:
    """Minibatches of a task with something to learn: rows as the replay buffer holds them."""
    generator = np.random.default_rng(3)
    obs, act = SPEC.sizes
    dynamics = generator.normal(size=(obs, obs + act)) * 0.3
    batches = []
    for _ in range(number):
        observations = generator.normal(size=(BATCH_SIZE, obs))
        actions = np.tanh(generator.normal(size=(BATCH_SIZE, act)))
        if case.spec.discrete:
            actions = one_hot(actions.argmax(axis=1), act)
        following = np.tanh(np.concatenate([observations, actions], 1) @ dynamics.T)
        rewards = following[:, :1] - (actions**2).sum(1, keepdims=True)
        ends = generator.random((BATCH_SIZE, 1)) < 0.05
        batches.append(np.concatenate([observations, actions, rewards, following, ends], 1).astype(np.float32))
    return batches


def learned_from(case: Case) -> list[np.ndarray]:
    """Three minibatches as rows that updates read: transitions, or those of a rollout that a fresh agent prepared."""
    batches = transitions(3, case)
    return (
        batches
        if case.algorithm.prepare is None
        else np.split(learner(fresh(case=case), kernels=False, case=case).prepare(rollout(case)), 3)
    )


def rollout(case: Case) -> np.ndarray:
    """A rollout as rows, whose episodes all end by terminating."""
    rows = np.concatenate(transitions(3, case))
    return np.concatenate([rows, rows[:, -1:]], axis=1)


def call_with(instruction_set: str, function: str) -> None:
    """Call ``module:function`` in a process whose kernels have this instruction set; skip the test if there is none.

    In a process of its own, because the choice is made once.
    """
    module, _, name = function.partition(":")
    code = (
        "from importlib import import_module\n"
        "from rlottery.agents.kernels.library import find, register\n"
        "print(find().instruction_set, find().why)\n"
        "if find().usable:\n"
        "    register()\n"
        f"    import_module({module!r}).{name}()\n"
    )
    environment = dict(os.environ) | {VARIABLE: instruction_set}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr
    if not told.stdout.startswith(instruction_set):
        pytest.skip(told.stdout.strip())


def compile_as_users_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile the updates of later learners anew, with the options of XLA that the tests otherwise change."""
    options = compiler_options() | AS_USERS_HAVE_IT
    monkeypatch.setattr("rlottery.training.compilation.compiler_options", lambda: options)
    monkeypatch.setattr("rlottery.training.learner.compile_update", compile_update.__wrapped__)


def arrays(state: Any) -> dict[str, np.ndarray]:
    """Copies of all arrays of a state."""
    return {name: np.array(array) for name, array in to_arrays(state).items()}
