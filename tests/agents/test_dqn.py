"""DQN against the same mathematics written once more in NumPy, at double precision and with gradients by hand."""

from collections.abc import Iterator
from functools import cache, partial
from math import erf, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlottery.agents import dqn
from rlottery.agents.algorithms import DQNSetup
from rlottery.agents.base import kernels
from rlottery.agents.description import Spec
from rlottery.agents.dqn import DQN
from rlottery.config import DQNSettings, NetworkSettings
from rlottery.storage.transitions import Transitions, one_hot
from tests.agents.by_hand import ByHand, close, same
from tests.agents.numpy_networks import backward
from tests.agents.small import BATCH_SIZE, doubled, numpy_mlp, random_batch, random_masks

SPEC = Spec(observation_size=3, action_size=4, discrete=True)


def setup(**keys: Any) -> DQNSetup:
    """Small settings. About half of the gradients are longer than the limit."""
    usual = {
        "discount": 0.9,
        "learning_rate": 3e-3,
        "target_interval": 3,
        "max_gradient_norm": 0.25,
        "reward_scale": 1.7,
    }
    return DQNSetup(DQNSettings(**{**usual, **keys}), NetworkSettings(q=(14, 8)))


SINGLE, DOUBLE = setup(), setup(double=True)


@cache
def compiled(settings: DQNSetup) -> Any:
    return jax.jit(partial(dqn.update, settings=settings))


@cache
def fresh(seed: int = 0) -> dqn.DQNState:
    key = jax.random.key(seed)
    return jax.jit(lambda key: dqn.init(dqn.init_params(key, SPEC, SINGLE), key, SINGLE))(key)


with_masks = jax.jit(DQN.with_masks)


def batch_of(seed: int) -> Transitions:
    """Transitions with errors on both sides of the Huber loss's corner."""
    chosen = np.random.default_rng(seed + 100).integers(SPEC.action_size, size=BATCH_SIZE)
    return random_batch(seed)._replace(actions=one_hot(chosen, SPEC.action_size))


class Reference(ByHand):
    """One agent in NumPy, which is trained as the paper's algorithm 1 says."""

    def __init__(self, state: dqn.DQNState, double: bool):
        super().__init__(state)
        self.target, self.double, self.updates, self.clipped = self.params["q"], double, 0, 0

    def loss_and_gradient(self, batch: Transitions) -> tuple[float, Any]:
        q = self.params["q"]
        loss, by_output = 0.0, np.zeros((BATCH_SIZE, SPEC.action_size))
        values, next_values = numpy_mlp(q, batch.observations), numpy_mlp(self.target, batch.next_observations)
        choosing = numpy_mlp(q, batch.next_observations) if self.double else next_values
        for index in range(BATCH_SIZE):
            goal = 1.7 * batch.rewards[index]
            if not batch.terminations[index]:
                goal += 0.9 * next_values[index, choosing[index].argmax()]
            action = batch.actions[index].argmax()
            error = values[index, action] - goal
            loss += error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
            by_output[index, action] = np.sign(error) * min(abs(error), 1) / BATCH_SIZE
        return loss / BATCH_SIZE, backward(q, batch.observations, by_output)[0]

    def update(self, batch: Transitions) -> float:
        """Train on a batch. Returns the loss before."""
        loss, gradient = self.loss_and_gradient(batch)
        gradient = self.masked("q", gradient)
        length = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
        self.clipped += length > 0.25
        self.adam("q", jax.tree.map(lambda leaf: leaf * min(1, 0.25 / length), gradient), 3e-3)
        self.updates += 1
        if self.updates % 3 == 0:
            self.target = self.params["q"]
        return loss


def training(state: dqn.DQNState, number: int, settings: DQNSetup = SINGLE) -> Iterator[tuple[Any, Any, Transitions]]:
    for seed in range(number):
        batch = batch_of(seed)
        state, metrics = compiled(settings)(state, batch)
        yield state, metrics, batch


@pytest.mark.parametrize("settings", [SINGLE, DOUBLE])
@pytest.mark.parametrize("density", [None, 0.6])
def test_updates_are_those_of_the_paper(density: float | None, settings: DQNSetup) -> None:
    """Huber loss, length of the gradient, Adam, pruned weights; the target is copied at every third update."""
    start = fresh(1)
    if density is not None:
        start = with_masks(start, random_masks(start.params, 2, density))
    expected, before = Reference(start, settings is DOUBLE), start
    for number, (state, metrics, batch) in enumerate(training(start, 7, settings), start=1):
        values = numpy_mlp(expected.params["q"], doubled(batch.observations))
        assert metrics["q_value"] == pytest.approx((values * batch.actions).sum(1).mean(), rel=1e-4)
        assert metrics["q_loss"] == pytest.approx(expected.update(doubled(batch)), rel=1e-4)
        assert close(state.params["q"], expected.params["q"]) and close(state.target, expected.target)
        adam = state.optimizer["q"][0]
        assert close((adam.mu, adam.nu), tuple(expected.moments["q"]))
        assert same(state.target, before.target) == (number % 3 != 0)
        assert same(state.target, state.params["q"]) == (number % 3 == 0)
        assert not close(state.params["q"], before.params["q"])
        before = state
    assert before.updates == 7 and 0 < expected.clipped < 7
    assert density is None or DQN.masks_hold(before)


def test_a_double_agent_learns_otherwise() -> None:
    (*_, (single, _, _)), (*_, (double, _, _)) = (training(fresh(1), 7, settings) for settings in (SINGLE, DOUBLE))
    assert not close(single.params, double.params)


def test_exploration_falls_along_a_line_and_random_actions_are_uniform() -> None:
    settings = setup(exploration_start=0.9, exploration_end=0.1, exploration_steps=400)
    assert [dqn.exploration(step, settings) for step in (1, 100, 400, 10_000)] == pytest.approx([0.898, 0.7, 0.1, 0.1])
    noise = np.random.default_rng(0).normal(size=(20_000, 5)).astype(np.float32)
    outputs = np.tile(np.array([0.3, 2.0, -1.0, 1.9], np.float32), (20_000, 1))
    for step, share in ((100, 0.7), (400, 0.1)):
        actions = dqn.explore(outputs, noise, step, settings)
        assert actions.dtype == np.float32 and set(np.unique(actions)) == {0, 1} and (actions.sum(1) == 1).all()
        expected = share / 4 + (1 - share) * np.array([0, 1, 0, 0])
        np.testing.assert_allclose(actions.mean(0), expected, atol=0.015)
        random = np.array([0.5 * (1 + erf(last / sqrt(2))) < share for last in noise[:, -1]])
        assert (actions[~random] == one_hot(np.array(1), 4)).all()
        assert (actions[random].argmax(1) == noise[random, :4].argmax(1)).all()
    one = dqn.explore(outputs[0], noise[0], 100, settings)
    np.testing.assert_array_equal(one, dqn.explore(outputs, noise, 100, settings)[0])
    assert DQN.noise_size(SPEC) == 5


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_values_that_are_not_finite_give_no_action(wrong: float) -> None:
    """Also where the action is random: the loop has to notice."""
    outputs = np.array([[0.1, wrong, 0.2, 0.3], [0.1, 0.5, 0.2, 0.3]], np.float32)
    noise = np.array([[1, 0, 0, 0, -9], [0, 0, 1, 0, -9]], np.float32)
    for actions in (DQN.deterministic(outputs, SPEC), dqn.explore(outputs, noise, 1, SINGLE)):
        assert np.isnan(actions[0]).all() and actions[1].sum() == 1
    assert DQN.deterministic(outputs, SPEC)[1].argmax() == 1 and dqn.explore(outputs, noise, 1, SINGLE)[1].argmax() == 2


def test_criteria_read_the_loss_of_training_with_targets_that_stay() -> None:
    *_, (state, _, _) = training(fresh(), 4, DOUBLE)
    batch = batch_of(9)
    loss = dqn.losses(state, batch, jax.random.key(5), DOUBLE)["q"]
    reference = Reference(state, double=True)
    reference.target = doubled(state.target)
    expected, by_hand = reference.loss_and_gradient(doubled(batch))
    value, gradient = jax.jit(jax.value_and_grad(loss))(state.params["q"])
    assert value == pytest.approx(expected, rel=1e-5) and close(gradient, by_hand)


def test_rewinding_gives_back_what_was_learnt_and_nothing_else() -> None:
    *_, (saved, _, _) = training(with_masks(fresh(3), random_masks(fresh(3).params, 3)), 4)
    found = dqn.rewind(saved, jax.random.key(99), SINGLE)
    assert same(found.params, saved.params) and same(found.target, saved.target)
    assert not same(found.target, found.params["q"])
    assert found.masks == {} and found.updates == 0
    assert same(found.optimizer, fresh(3).optimizer) and not same(found.optimizer, saved.optimizer)


def test_masking_clears_target_and_moments() -> None:
    *_, (dense, _, _) = training(fresh(5), 4)
    masks = random_masks(dense.params, 5)
    masked = with_masks(dense, masks)
    adam = masked.optimizer["q"][0]
    for tree in (masked.params["q"], masked.target, adam.mu, adam.nu):
        for path, mask in kernels(masks["q"]).items():
            assert not np.asarray(kernels(tree)[path])[~mask].any() and kernels(tree)[path][mask].any()
    assert DQN.masks_hold(masked) and not DQN.masks_hold(dense._replace(masks=masks))


def test_agents_updated_together_each_keep_their_own_interval() -> None:
    starts = [fresh(0), *(state for state, _, _ in training(fresh(1), 2))]
    batches = [batch_of(10 + index) for index in range(3)]
    stacked, batch = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (starts, batches))
    together, _ = jax.jit(jax.vmap(lambda s, b: dqn.update(s, b, SINGLE)))(stacked, batch)
    for index, (start, own) in enumerate(zip(starts, batches, strict=True)):
        alone, _ = compiled(SINGLE)(start, own)
        assert close(jax.tree.map(lambda leaf, index=index: leaf[index], together), alone)
        assert same(alone.target, start.target) == (index != 2)
