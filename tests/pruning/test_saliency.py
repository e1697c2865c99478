from typing import Any

import jax
import numpy as np
import pytest

from rlottery.agents import Batch, Tree, kernels, sac
from rlottery.agents.sac import SAC
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.saliency import mean_abs_gradients
from rlottery.replay import Transitions
from tests.agents.small import SETTINGS, SPEC, advanced, fresh
from tests.toy import TOY, ToySettings, initial, with_critic_kernel

BATCHES, BATCH_SIZE = 4, 32


def stored(rows: int = 100, rewards: np.ndarray | None = None) -> Transitions:
    rng = np.random.default_rng(0)
    rows = rows if rewards is None else len(rewards)
    return Transitions(
        observations=rng.normal(size=(rows, SPEC.observation_size)).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows, SPEC.action_size)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32) if rewards is None else rewards,
        next_observations=rng.normal(size=(rows, SPEC.observation_size)).astype(np.float32),
        terminations=(rng.random(rows) < 0.2).astype(np.float32),
    )


def toy_saliency(rewards: list[float], batches: int, batch_size: int = 1, seed: int = 0) -> dict[str, Any]:
    return mean_abs_gradients(
        TOY,
        ToySettings(),
        with_critic_kernel(initial()),
        stored(rewards=np.array(rewards, np.float32)),
        jax.random.key(seed),
        np.random.default_rng(seed),
        batches=batches,
        batch_size=batch_size,
    )


def test_it_is_the_mean_of_the_absolute_gradients_of_the_batches() -> None:
    state, data, key = advanced(fresh(), 10), stored(), jax.random.key(6)
    found = mean_abs_gradients(
        SAC, SETTINGS, state, data, key, np.random.default_rng(5), batches=BATCHES, batch_size=BATCH_SIZE
    )

    def losses(params: Tree, batch: Batch, key: jax.Array) -> jax.Array:
        """Both groups' own losses; each group's gradient reaches its own weights alone."""
        critic_key, actor_key = jax.random.split(key)
        critic = sac.critic_loss(params["critic"], state, batch, critic_key, SETTINGS)
        actor, _ = sac.actor_loss(
            params["actor"], state.params["critic"], state.log_temperature, batch.observations, actor_key
        )
        return critic + actor

    gradient = jax.jit(jax.grad(losses))
    generator, seen = np.random.default_rng(5), []
    for index in range(BATCHES):
        rows = generator.integers(100, size=BATCH_SIZE)
        batch = Batch(*(field[rows] for field in data))
        seen.append(gradient(state.params, batch, jax.random.fold_in(key, index)))

    for group in ("actor", "critic"):
        each = [kernels(tree[group]) for tree in seen]
        assert found[group].keys() == each[0].keys()
        for path, mean in found[group].items():
            assert type(mean) is np.ndarray
            assert mean.dtype == np.float32
            expected = np.mean([np.abs(np.asarray(tree[path], np.float64)) for tree in each], axis=0)
            np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)


def test_signs_that_change_from_batch_to_batch_do_not_cancel() -> None:
    found = toy_saliency([1.0, -1.0], batches=64)
    np.testing.assert_allclose(found["actor"]["layer_0"], 1.0, rtol=1e-5)
    assert "|batch gradient|" in str(CRITERIA["taylor"].estimator)


def test_within_a_batch_the_gradient_is_that_of_the_mean_loss() -> None:
    # Of a large batch of +1 and -1, the mean is near zero: nothing is taken absolute before it.
    found = toy_saliency([1.0, -1.0], batches=16, batch_size=4_000)
    assert found["actor"]["layer_0"].max() < 0.05


def test_every_batch_has_noise_of_its_own() -> None:
    one, many = (toy_saliency([0.0], batches=batches)["critic"]["q1.layer_0"] for batches in (1, 200))
    # Each entry is the mean of |N(0, 1)|; with one noise for all batches its spread would not shrink.
    assert one.std() == pytest.approx(np.sqrt(1 - 2 / np.pi), rel=0.1)
    assert many.mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.02)
    assert many.std() == pytest.approx(np.sqrt((1 - 2 / np.pi) / 200), rel=0.1)


def test_batches_are_drawn_from_all_of_the_replay() -> None:
    found = toy_saliency([1.0, 2.0, 6.0], batches=900)
    assert found["actor"]["layer_0"].item(0) == pytest.approx(3.0, rel=0.1)


def test_it_follows_from_key_and_generator() -> None:
    one, again, other = (toy_saliency([1.0, 3.0], batches=5, seed=seed) for seed in (1, 1, 2))
    assert one["critic"]["q1.layer_0"].tobytes() == again["critic"]["q1.layer_0"].tobytes()
    assert one["critic"]["q1.layer_0"].tobytes() != other["critic"]["q1.layer_0"].tobytes()
