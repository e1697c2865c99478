from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.agents import sac
from rlottery.agents.base import kernels
from rlottery.agents.networks import Tree, mlp
from rlottery.agents.sac import SAC
from rlottery.config import Config
from tests.agents.by_hand import close
from tests.agents.small import (
    BATCH_SIZE,
    SETTINGS,
    SPEC,
    advanced,
    compiled,
    doubled,
    fresh,
    gradients,
    numpy_actor_loss,
    numpy_critic_loss,
    numpy_mlp,
    numpy_policy,
    random_batch,
    random_masks,
    with_masks,
)
from tests.compiler_options import FUSED

GROUPS = ("actor", "critic")


def constant_policy(mean: list[float], log_std: list[float]) -> Tree:
    """An actor that gives one distribution whatever it observes."""
    width = 2 * len(mean)
    return {"layer_0": {"kernel": np.zeros((3, width), np.float32), "bias": np.array(mean + log_std, np.float32)}}


def zero_critic(actions: int) -> Tree:
    q = {"layer_0": {"kernel": np.zeros((3 + actions, 1), np.float32), "bias": np.zeros(1, np.float32)}}
    return {"q1": q, "q2": q}


@partial(jax.jit, static_argnames="epsilon")
def drawn(actor: Tree, keys: jax.Array, epsilon: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """Actions (n, act) of a constant policy, one a key, and their log-densities (n,)."""
    observation = jnp.zeros((1, 3))
    hyperparameters = SETTINGS.hyperparameters.model_copy(update={"log_prob_epsilon": epsilon})
    settings = SETTINGS._replace(hyperparameters=hyperparameters)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = mlp(actor, observation, activation="relu")
        action = sac.explore(outputs, jax.random.normal(key, (1, outputs.shape[1] // 2)), 1, SETTINGS)[0]
        state = fresh()._replace(log_temperature=jnp.float32(0.0))
        _, entropy = sac.actor_loss(actor, zero_critic(action.size), state, observation, key, settings)
        return action, -entropy  # of a single action, the estimate is its own log-density

    return jax.vmap(one)(keys)


def normals(key: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.normal(key, (BATCH_SIZE, SPEC.action_size)), np.float64)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.8, -1.2), (-0.3, -3.0)])
def test_densities_of_actions_integrate_to_one(mean: float, log_std: float) -> None:
    found, log_density = drawn(constant_policy([mean], [log_std]), jax.random.split(jax.random.key(0), 20_000))
    action, density = np.asarray(found[:, 0], np.float64), np.exp(np.asarray(log_density, np.float64))
    order = np.argsort(action)
    assert np.trapezoid(density[order], action[order]) == pytest.approx(1, abs=0.005)


@given(
    mean=st.lists(st.floats(-12, 12, width=32), min_size=2, max_size=2),
    log_std=st.lists(st.floats(-19, 2, width=32), min_size=2, max_size=2),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_log_density_is_the_change_of_variables(mean: list[float], log_std: list[float], seed: int) -> None:
    key = jax.random.key(seed)
    actions, log_density = drawn(constant_policy(mean, log_std), key[None])
    noise = np.asarray(jax.random.normal(key, (1, 2)), np.float64)
    by_hand, expected = numpy_policy(doubled(constant_policy(mean, log_std)), np.zeros((1, 3)), noise)
    np.testing.assert_allclose(actions[0], by_hand[0], atol=2e-5)
    np.testing.assert_allclose(log_density[0], expected[0], rtol=1e-4, atol=1e-3)
    assert np.abs(actions).max() <= 1


@pytest.mark.parametrize("mean", [0.5, 4.0, -30.0])
def test_an_epsilon_bounds_the_log_density_of_actions_at_their_bounds(mean: float) -> None:
    """As Stable-Baselines3's, log N(u) - log(1 - tanh(u)^2 + epsilon), which is at most log N(u) - log(epsilon)."""
    key, epsilon = jax.random.key(3), 1e-3
    _, found = drawn(constant_policy([mean], [-1.0]), key[None], epsilon)
    noise = np.asarray(jax.random.normal(key, (1, 1)), np.float64)
    before = mean + np.exp(-1.0) * noise
    expected = -0.5 * noise**2 + 1.0 - 0.5 * np.log(2 * np.pi) - np.log(1 / np.cosh(before) ** 2 + epsilon)
    np.testing.assert_allclose(found[0], expected[0, 0], rtol=1e-4)


@pytest.mark.parametrize(("beyond", "bound"), [(100.0, 2.0), (-100.0, -20.0)])
def test_log_std_keeps_within_its_bounds(beyond: float, bound: float) -> None:
    keys = jax.random.split(jax.random.key(2), 1)
    (actions, log_density), (expected_actions, expected) = (
        drawn(constant_policy([0.3, -0.2], [log_std] * 2), keys) for log_std in (beyond, bound)
    )
    assert np.array_equal(actions, expected_actions)
    assert np.array_equal(log_density, expected)
    _, inside = drawn(constant_policy([0.3, -0.2], [bound * 0.9] * 2), keys)
    assert not np.array_equal(log_density, inside)


def test_data_is_collected_around_the_mean_and_evaluated_at_it() -> None:
    actor = fresh(1).params["actor"]
    observations = np.random.default_rng(0).normal(size=(BATCH_SIZE, 3)).astype(np.float32)
    mean = numpy_mlp(doubled(actor), observations)[:, :2]
    outputs = np.asarray(mlp(actor, observations, activation="relu"))
    np.testing.assert_allclose(sac.exploit(outputs), np.tanh(mean), atol=1e-6)

    key = jax.random.key(5)
    by_hand, _ = numpy_policy(doubled(actor), observations, normals(key))
    noise = np.asarray(jax.random.normal(key, (BATCH_SIZE, 2)))
    np.testing.assert_allclose(sac.explore(outputs, noise, 1, SETTINGS), by_hand, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(sac.explore, static_argnums=(2, 3))(outputs, noise, 1, SETTINGS), by_hand, atol=1e-5
    )


def test_a_dense_agent_starts_with_targets_equal_to_its_critics_and_empty_moments() -> None:
    state = fresh(4)
    assert _same(state.params["critic"], state.target_critic)
    assert state.masks == {}
    assert np.exp(state.log_temperature) == pytest.approx(0.3)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.optimizer))


def test_a_task_overrides_the_settings_of_the_study() -> None:
    config = Config.model_validate(
        {
            "tasks": ["A-v0", {"id": "B-v0", "sac": {"discount": 0.5}}],
            "seeds": [0],
            "sac": {"polyak": 0.1},
            "network": {"actor": [4]},
        }
    )
    first, second = (SAC.description.settings(config, task) for task in config.tasks)
    assert (first.hyperparameters.discount, second.hyperparameters.discount) == (0.99, 0.5)
    assert first.hyperparameters.polyak == second.hyperparameters.polyak == 0.1
    assert first.network.actor == second.network.actor == (4,)
    assert hash(first) == hash(SAC.description.settings(config, config.tasks[0]))


def test_critic_loss_by_hand() -> None:
    state, batch, key = advanced(fresh(), 5), random_batch(50), jax.random.key(8)
    found = compiled("critic_loss")(state.params["critic"], state, batch, key)
    exact = _doubled_state(state)
    assert found == pytest.approx(
        numpy_critic_loss(exact.params["critic"], exact, doubled(batch), normals(key)), rel=1e-5
    )


def test_only_terminated_transitions_do_not_bootstrap() -> None:
    state, key = fresh(), jax.random.key(8)

    def loss(terminations: float, seed: int) -> np.ndarray:
        batch = random_batch(0, terminations)._replace(next_observations=random_batch(seed).next_observations)
        return np.asarray(compiled("critic_loss")(state.params["critic"], state, batch, key))

    assert loss(1.0, seed=1) == loss(1.0, seed=2)
    assert loss(0.0, seed=1) != loss(0.0, seed=2)


def test_gradients_are_the_finite_differences_of_each_groups_own_loss() -> None:
    state, batch, key = advanced(fresh(), 5), random_batch(51), jax.random.key(9)
    found = gradients(state, batch, key)
    critic_noise, actor_noise = map(normals, jax.random.split(key))
    exact, exact_batch = _doubled_state(state), doubled(batch)
    rng = np.random.default_rng(0)

    losses = {
        "critic": lambda critic: numpy_critic_loss(critic, exact, exact_batch, critic_noise),
        "actor": lambda actor: numpy_actor_loss(actor, exact, exact_batch, actor_noise),
    }
    for group, loss in losses.items():
        tree = exact.params[group]
        assert jax.tree.map(np.shape, found[group]) == jax.tree.map(np.shape, tree)
        for leaf, gradient in zip(jax.tree.leaves(tree), jax.tree.leaves(found[group]), strict=True):
            for _ in range(3):
                index = tuple(rng.integers(size) for size in leaf.shape)
                before, ends = leaf[index], []
                for step in (1e-6, -1e-6):
                    leaf[index] = before + step
                    ends.append(loss(tree))
                leaf[index] = before
                slope = (ends[0] - ends[1]) / 2e-6
                assert gradient[index] == pytest.approx(slope, rel=2e-3, abs=2e-5)


def test_what_enters_each_layer_is_the_output_of_the_one_before() -> None:
    state, batch = advanced(fresh(), 2), random_batch(3)
    found = jax.jit(sac.layer_inputs, static_argnums=2)(state, batch, SETTINGS)
    exact, seen = _doubled_state(state), doubled(batch)
    entering = {"actor": seen.observations, "critic": np.concatenate([seen.observations, seen.actions], -1)}
    for group in GROUPS:
        assert found[group].keys() == kernels(state.params[group]).keys()
    for group, prefix, network in [
        ("actor", "", exact.params["actor"]),
        *(("critic", f"{q}.", exact.params["critic"][q]) for q in ("q1", "q2")),
    ]:
        hidden = entering[group]
        for index in range(len(network)):
            np.testing.assert_allclose(found[group][f"{prefix}layer_{index}"], hidden, atol=1e-5)
            layer = network[f"layer_{index}"]
            hidden = np.maximum(hidden @ layer["kernel"] + layer["bias"], 0)


def test_rewinding_gives_back_what_was_learnt_and_nothing_else() -> None:
    saved = advanced(with_masks(fresh(3), random_masks(fresh(3).params, 3)), 4)
    key = jax.random.key(99)
    found = jax.jit(lambda saved, key: sac.rewind(saved, key, SETTINGS))(saved, key)
    assert _same(found.params, saved.params)
    assert _same(found.target_critic, saved.target_critic)
    assert not _same(found.target_critic, found.params["critic"])
    assert float(found.log_temperature) == float(saved.log_temperature) != np.float32(np.log(0.3))
    assert found.masks == {}
    assert _same(found.optimizer, fresh(3).optimizer)
    assert not _same(found.optimizer, saved.optimizer)
    assert np.array_equal(jax.random.key_data(found.key), jax.random.key_data(key))
    # It can be trained on, dense.
    assert jax.tree.structure(advanced(found, 1)) == jax.tree.structure(fresh(3))


@pytest.mark.parametrize(("log_std", "moves"), [(0.0, -1), (-8.0, 1)])
def test_temperature_falls_above_the_target_entropy_and_rises_below(log_std: float, moves: int) -> None:
    # The target is -2. Two actions of nearly uniform policy have an entropy near 2 ln 2; tight ones have far less.
    state = fresh()
    state = state._replace(params=state.params | {"actor": _with_log_std(state.params["actor"], log_std)})
    for seed in range(3):
        before = state.log_temperature
        state, metrics = compiled("update")(state, random_batch(seed))
        assert np.sign(float(metrics["entropy"]) + 2) == -moves
        assert np.sign(state.log_temperature - before) == moves
        assert metrics["temperature"] == pytest.approx(np.exp(float(state.log_temperature)))


def test_an_update_moves_critics_then_actor_then_temperature_then_targets() -> None:
    start, batch = fresh(7), random_batch(7)
    found, metrics = compiled("update")(start, batch)
    rates = SETTINGS.hyperparameters
    _, critic_key, actor_key = jax.random.split(start.key, 3)

    @jax.jit
    def in_order() -> Any:
        of_critic = jax.grad(sac.critic_loss)(start.params["critic"], start, batch, critic_key, SETTINGS)
        critic = _first_adam_step(start.params["critic"], of_critic, rates.critic_learning_rate)
        of_actor, entropy = jax.grad(sac.actor_loss, has_aux=True)(
            start.params["actor"], critic, start, batch.observations, actor_key, SETTINGS
        )
        actor = _first_adam_step(start.params["actor"], of_actor, rates.actor_learning_rate)
        return {"critic": of_critic, "actor": of_actor}, {"critic": critic, "actor": actor}, entropy

    gradients, params, entropy = in_order()
    targets = jax.tree.map(lambda t, w: 0.98 * t + 0.02 * w, doubled(start.target_critic), doubled(params["critic"]))

    assert close(found.params, params, atol=2e-6)
    assert close(found.target_critic, targets, atol=2e-6)
    # Adam's first step hardly tells one gradient from another of the same signs; its first moment, a tenth, does.
    for group, gradient in gradients.items():
        assert close(found.optimizer[group][0].mu, jax.tree.map(lambda g: 0.1 * g, doubled(gradient)), atol=1e-7)
    gap = float(entropy) + 2
    assert found.log_temperature - start.log_temperature == pytest.approx(-np.sign(gap) * 2e-3, rel=1e-3)
    assert metrics["entropy"] == pytest.approx(float(entropy), rel=1e-4)
    # The noise of the next update is not this one's.
    assert not np.array_equal(jax.random.key_data(found.key), jax.random.key_data(start.key))


def test_targets_follow_by_the_polyak_share() -> None:
    before = advanced(fresh(3), 4)
    after = advanced(before, 1, seed=77)
    expected = jax.tree.map(
        lambda t, w: t + 0.02 * (w - t), doubled(before.target_critic), doubled(after.params["critic"])
    )
    assert close(after.target_critic, expected, atol=1e-7)


def test_full_masks_change_no_bit() -> None:
    # At optimisation level 0, with the emitters that users have. A higher level, or other emitters, fuse the operations
    # of one program otherwise than those of the other.
    update = jax.jit(partial(sac.update, settings=SETTINGS), compiler_options=FUSED)
    dense = fresh(2)
    masked = with_masks(dense, jax.tree.map(np.ones_like, random_masks(dense.params)))
    for index in range(20):
        (dense, _), (masked, _) = (update(state, random_batch(index)) for state in (dense, masked))
    assert _same(dense._replace(masks={}, key=0), masked._replace(masks={}, key=0))


@pytest.mark.parametrize(("seed", "density"), [(0, 0.5), (1, 0.2), (2, 0.9)])
def test_masks_hold_through_training(seed: int, density: float) -> None:
    state = fresh(seed)
    masks = random_masks(state.params, seed, density)
    state = with_masks(state, masks)
    start = jax.tree.map(np.copy, state.params)
    for index in range(220):
        state, _ = compiled("update")(state, random_batch(index))
        if index % 20 == 0:
            assert _pruned(state, masks) == {0.0}
    assert _pruned(state, masks) == {0.0}
    assert SAC.masks_hold(state)
    # What survives is trained, unless the mask has cut it off.
    moved = [np.any(now != then) for now, then in zip(*map(jax.tree.leaves, (state.params, start)), strict=True)]
    assert all(moved) or density < 0.5


def test_masking_in_the_middle_of_training_clears_targets_and_moments() -> None:
    dense = advanced(fresh(5), 20)
    masks = random_masks(dense.params, 5)
    assert _pruned(dense, masks) != {0.0}
    masked = with_masks(dense, masks)
    assert _pruned(masked, masks) == {0.0}
    assert not any(np.any(leaf[~mask]) for leaf, mask in _pairs(masked.target_critic, masks["critic"]))
    # The surviving weights and moments are as they were.
    for before, after in zip(_places(dense), _places(masked), strict=True):
        for (leaf, mask), (kept, _) in zip(
            _pairs(before[0], masks[before[1]]), _pairs(after[0], masks[after[1]]), strict=True
        ):
            assert np.array_equal(leaf[mask], kept[mask])
    assert _pruned(advanced(masked, 5), masks) == {0.0}


@pytest.mark.parametrize("place", range(6))
def test_a_revived_weight_is_noticed_wherever_it_is(place: int) -> None:
    state = fresh()
    masks = random_masks(state.params)
    state = jax.tree.map(np.array, with_masks(state, masks)._replace(key=0))
    assert SAC.masks_hold(state)
    tree, group = _places(state)[place]
    leaf, mask = next(iter(_pairs(tree, masks[group])))
    leaf[tuple(np.argwhere(~mask)[0])] = 1e-20
    assert not SAC.masks_hold(state)


def test_agents_updated_together_are_as_if_updated_alone() -> None:
    states = [with_masks(state, random_masks(state.params, seed)) for seed, state in enumerate([fresh(0), fresh(1)])]
    batches = [random_batch(0), random_batch(1)]
    stacked, batch = (jax.tree.map(_stack, *trees) for trees in (states, batches))
    together, metrics = jax.jit(jax.vmap(lambda s, b: sac.update(s, b, SETTINGS)))(stacked, batch)
    for index, (state, own_batch) in enumerate(zip(states, batches, strict=True)):
        alone, own_metrics = compiled("update")(state, own_batch)
        mine = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        assert close(mine._replace(key=0), alone._replace(key=0), atol=1e-5)
        assert np.array_equal(jax.random.key_data(mine.key), jax.random.key_data(alone.key))
        assert metrics["critic_loss"][index] == pytest.approx(float(own_metrics["critic_loss"]), rel=1e-4)


def _stack(*leaves: jax.Array) -> Any:
    if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jnp.stack(leaves)
    return np.stack(leaves)


def _doubled_state(state: sac.SACState) -> sac.SACState:
    return doubled(state._replace(key=0, masks={}))


def _same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def _with_log_std(actor: Tree, log_std: float) -> Tree:
    last = actor["layer_1"]
    kernel, bias = np.array(last["kernel"]), np.array(last["bias"])
    kernel[:, 2:], bias[2:] = 0, log_std
    return actor | {"layer_1": {"kernel": kernel, "bias": bias}}


def _first_adam_step(weights: Tree, gradient: Tree, rate: float) -> Tree:
    """Adam's first step: the corrected moments are the gradient and its square."""
    return jax.tree.map(lambda w, g: w - rate * g / (jnp.abs(g) + 1e-8), weights, gradient)


def _places(state: sac.SACState) -> list[tuple[Tree, str]]:
    """Every tree in which a pruned weight has to be zero, with its group."""
    moments = [(getattr(state.optimizer[group][0], name), group) for group in GROUPS for name in ("mu", "nu")]
    return [(state.params["actor"], "actor"), (state.params["critic"], "critic"), *moments]


def _pairs(tree: Tree, masks: Tree) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(kernels(tree)[path]), mask) for path, mask in kernels(masks).items()]


def _pruned(state: sac.SACState, masks: Tree) -> set[float]:
    """The distinct values at pruned places, in weights, targets and moments."""
    places = [*_places(state), (state.target_critic, "critic")]
    return {float(x) for tree, group in places for leaf, mask in _pairs(tree, masks[group]) for x in leaf[~mask]}
