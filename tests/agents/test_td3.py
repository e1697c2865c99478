"""TD3 against the same mathematics written once more in NumPy, at double precision and with gradients by hand."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlottery.agents import td3
from rlottery.agents.algorithms import TD3Setup
from rlottery.agents.base import kernels
from rlottery.agents.networks import Tree, mlp
from rlottery.agents.td3 import TD3
from rlottery.config import NetworkSettings, TD3Settings
from rlottery.storage.transitions import Transitions
from tests import cases
from tests.agents.by_hand import ByHand, close, same
from tests.agents.numpy_networks import backward
from tests.agents.small import BATCH_SIZE, SPEC, doubled, numpy_mlp, random_batch, random_masks

SETTINGS = TD3Setup(
    TD3Settings(
        discount=0.9,
        polyak=0.02,
        actor_learning_rate=1e-3,
        critic_learning_rate=3e-3,
        policy_delay=3,
        target_noise=0.8,  # a third of the noise is clipped, and so are some target actions
        target_noise_clip=0.7,
        exploration_noise=0.3,
        reward_scale=1.7,
    ),
    NetworkSettings(actor=(12,), critic=(14, 8)),
)


@cache
def compiled(name: str) -> Any:
    """A function of `td3` with the settings, compiled once for all tests."""
    return jax.jit(partial(getattr(td3, name), settings=SETTINGS))


def fresh(seed: int = 0) -> td3.TD3State:
    state: td3.TD3State = cases.TD3.fresh(SETTINGS, seed, SPEC)
    return state


with_masks = jax.jit(TD3.with_masks)


class Reference(ByHand):
    """One agent in NumPy, which is trained as the paper's algorithm 1 says.

    Attributes:
        targets: of double precision.
    """

    def __init__(self, state: td3.TD3State):
        super().__init__(state)
        self.targets = doubled(state.targets)
        self.key, self.updates, self.actor_loss = state.key, 0, 0.0

    def goals(self, batch: Transitions) -> np.ndarray:
        self.key, noise_key = jax.random.split(self.key)
        noise = 0.8 * np.asarray(jax.random.normal(noise_key, (BATCH_SIZE, SPEC.action_size)), np.float64)
        noise = np.where(np.abs(noise) > 0.7, 0.7 * np.sign(noise), noise)
        actions = np.tanh(numpy_mlp(self.targets["actor"], batch.next_observations)) + noise
        pairs = np.concatenate([batch.next_observations, np.minimum(np.maximum(actions, -1), 1)], -1)
        q1, q2 = (numpy_mlp(self.targets["critic"][name], pairs)[:, 0] for name in ("q1", "q2"))
        return 1.7 * batch.rewards + 0.9 * np.where(batch.terminations == 1, 0, np.where(q1 < q2, q1, q2))

    def update(self, batch: Transitions) -> float:
        """Train on a batch. Returns the critics' loss before."""
        goals, loss, gradients = self.goals(batch), 0.0, {}
        pairs = np.concatenate([batch.observations, batch.actions], -1)
        for name, q in self.params["critic"].items():
            error = numpy_mlp(q, pairs)[:, 0] - goals
            loss += (error**2).mean()
            gradients[name], _ = backward(q, pairs, 2 * error[:, None] / BATCH_SIZE)
        self.adam("critic", gradients, 3e-3)
        self.updates += 1
        if self.updates in (3, 6, 9):
            self.update_policy(batch.observations)
        return loss

    def update_policy(self, observations: np.ndarray) -> None:
        actor, q1 = self.params["actor"], self.params["critic"]["q1"]
        actions = np.tanh(numpy_mlp(actor, observations))
        pairs = np.concatenate([observations, actions], -1)
        self.actor_loss = -numpy_mlp(q1, pairs)[:, 0].mean()
        _, by_pair = backward(q1, pairs, np.full((BATCH_SIZE, 1), -1 / BATCH_SIZE))
        by_output = by_pair[:, SPEC.observation_size :] * (1 - actions**2)
        self.adam("actor", backward(actor, observations, by_output)[0], 1e-3)
        self.targets = jax.tree.map(lambda t, w: 0.98 * t + 0.02 * w, self.targets, self.params)


def training(state: td3.TD3State, number: int) -> Iterator[tuple[td3.TD3State, dict[str, Any], Transitions]]:
    for seed in range(number):
        batch = random_batch(seed)
        state, metrics = compiled("update")(state, batch)
        yield state, metrics, batch


@pytest.mark.parametrize("density", [None, 0.6])
def test_updates_are_those_of_the_paper(density: float | None) -> None:
    """Critics at every update; the actor and all targets at every third; smoothed target actions; pruned weights."""
    start = fresh(1)
    if density is not None:
        start = with_masks(start, random_masks(start.params, 2, density))
    expected, before = Reference(start), start
    for number, (state, metrics, batch) in enumerate(training(start, 7), start=1):
        assert metrics["critic_loss"] == pytest.approx(expected.update(doubled(batch)), rel=1e-4)
        assert metrics["actor_loss"] == pytest.approx(expected.actor_loss, rel=1e-4)
        assert state.updates == number
        assert close(state.params, expected.params) and close(state.targets, expected.targets)
        for group, moments in expected.moments.items():
            adam = state.optimizer[group][0]
            assert close((adam.mu, adam.nu), tuple(moments))
        # What waits keeps its bits, and what doesn't has moved by far more than the tolerance.
        waits = number % 3 != 0
        assert same(state.params["actor"], before.params["actor"]) == same(state.targets, before.targets) == waits
        assert not close(state.params["critic"], before.params["critic"])
        assert waits or not close(state.params["actor"], before.params["actor"])
        before = state
    assert density is None or TD3.masks_hold(before)


def test_target_actions_are_smoothed_within_the_clip_and_the_bounds() -> None:
    """By the loss of critics that are the sum of the actions: it shows the target actions themselves."""
    state, key = fresh(), jax.random.key(3)
    total = {"kernel": np.array([[0]] * 3 + [[1]] * 2, np.float32), "bias": np.zeros(1, np.float32)}
    zero = jax.tree.map(np.zeros_like, total)
    one_layer: Callable[[Any], Tree] = lambda layer: {"q1": {"layer_0": layer}, "q2": {"layer_0": layer}}  # noqa: E731
    batch = random_batch(0, terminations=0.0)._replace(rewards=np.zeros(BATCH_SIZE, np.float32))
    for bias in (0.0, 1.0):  # the second lies near the bound
        constant = {"kernel": np.zeros((3, 2), np.float32), "bias": np.full(2, bias, np.float32)}
        acting = state._replace(targets={"actor": {"layer_0": constant}, "critic": one_layer(total)})
        found = jax.jit(partial(td3.critic_loss, settings=SETTINGS))(one_layer(zero), acting, batch, key)
        noise = np.clip(0.8 * np.asarray(jax.random.normal(key, (BATCH_SIZE, 2))), -0.7, 0.7)
        assert (np.abs(noise) == np.float32(0.7)).any() and (np.abs(noise) < 0.7).any()
        actions = np.clip(np.tanh(bias) + noise, -1, 1)
        assert (actions == 1).any() == (bias == 1.0)
        assert found == pytest.approx(2 * np.mean((0.9 * actions.sum(-1)) ** 2), rel=1e-5)


def test_data_is_collected_with_noise_within_the_bounds_and_evaluated_without() -> None:
    outputs = np.array([[0.2, -3.0], [0.0, 3.0]], np.float32)
    noise = np.array([[1.0, -1.0], [-0.5, 1.0]], np.float32)
    expected = [[np.tanh(0.2) + 0.3, -1.0], [-0.15, 1.0]]
    np.testing.assert_allclose(td3.explore(outputs, noise, 1, SETTINGS), expected, atol=1e-6)
    np.testing.assert_allclose(td3.exploit(outputs), np.tanh(outputs), atol=1e-6)
    actor = fresh().params["actor"]
    assert mlp(actor, np.zeros((1, 3), np.float32), activation="relu").shape == (1, SPEC.action_size)


def test_gradients_of_single_transitions_are_those_of_each_groups_own_loss() -> None:
    """The losses that criteria read are those that training uses, at the same noise."""
    *_, (state, _, _) = training(fresh(), 4)
    batch, key = random_batch(9), jax.random.key(5)
    losses = td3.losses(state, batch, key, SETTINGS)
    critic = compiled("critic_loss")(state.params["critic"], state, batch, key)
    assert jax.jit(losses["critic"])(state.params["critic"]) == pytest.approx(float(critic), rel=1e-6)
    exact, observations = doubled(state.params), doubled(batch.observations)
    pairs = np.concatenate([observations, np.tanh(numpy_mlp(exact["actor"], observations))], -1)
    expected = -numpy_mlp(exact["critic"]["q1"], pairs).mean()
    assert jax.jit(losses["actor"])(state.params["actor"]) == pytest.approx(expected, rel=1e-5)


def test_rewinding_gives_back_what_was_learnt_and_nothing_else() -> None:
    masks = random_masks(fresh(3).params, 3)
    *_, (saved, _, _) = training(with_masks(fresh(3), masks), 4)
    key = jax.random.key(99)
    found = jax.jit(lambda saved, key: td3.rewind(saved, key, SETTINGS))(saved, key)
    assert same(found.params, saved.params) and same(found.targets, saved.targets)
    assert not same(found.targets, found.params)
    assert found.masks == {} and found.updates == 0
    assert same(found.optimizer, fresh(3).optimizer) and not same(found.optimizer, saved.optimizer)
    assert np.array_equal(jax.random.key_data(found.key), jax.random.key_data(key))


def test_masking_clears_targets_and_moments() -> None:
    *_, (dense, _, _) = training(fresh(5), 4)
    masks = random_masks(dense.params, 5)
    masked = with_masks(dense, masks)
    for group in masks:
        adam = masked.optimizer[group][0]
        for tree in (masked.params[group], masked.targets[group], adam.mu, adam.nu):
            for path, mask in kernels(masks[group]).items():
                assert not np.asarray(kernels(tree)[path])[~mask].any() and kernels(tree)[path][mask].any()
    assert TD3.masks_hold(masked) and not TD3.masks_hold(dense._replace(masks=masks))


def test_agents_updated_together_each_keep_their_own_delay() -> None:
    """With one program for all, an agent may be due for an update of its actor while another is not."""
    starts = [fresh(0), *(state for state, _, _ in training(fresh(1), 2))]
    batches = [random_batch(10 + index) for index in range(3)]
    stacked, batch = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (starts, batches))
    together, metrics = jax.jit(jax.vmap(lambda s, b: td3.update(s, b, SETTINGS)))(stacked, batch)
    for index, (start, own) in enumerate(zip(starts, batches, strict=True)):
        alone, own_metrics = compiled("update")(start, own)
        mine = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        assert close(mine._replace(key=0), alone._replace(key=0))
        assert metrics["actor_loss"][index] == pytest.approx(float(own_metrics["actor_loss"]), rel=1e-4)
        assert same(alone.params["actor"], start.params["actor"]) == (index != 2)
