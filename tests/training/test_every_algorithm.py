"""Saliency statistics and masks that change, with every algorithm."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlottery.agents.base import kernels
from rlottery.pruning.allocation import survivor_count
from rlottery.pruning.masks import by_network, survivors
from rlottery.seeding import Streams
from rlottery.training.dynamic_sparsity import DynamicSparsity, masks_of
from rlottery.training.saliency import gather_statistics
from tests.cases import OTHERS, Case, places, updated

BATCHES, SIZE, STORED = 3, 13, 100
FROM_DATA = ("mean_abs_gradient", "mean_gradient", "mean_squared_gradient", "hessian_gradient", "input_norm")


@pytest.fixture
def _no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses have no noise, so that those of single transitions can be computed one by one."""
    monkeypatch.setattr(jax.random, "normal", lambda key, shape=(), *_: jnp.zeros(shape))


@OTHERS
@pytest.mark.usefixtures("_no_noise")
def test_statistics_are_those_of_each_groups_loss(case: Case) -> None:
    """Against the gradients of single transitions, at double precision."""
    # PPO's loss of a transition depends on the batch through its advantages' mean, unless they are taken as they are.
    alone = {"normalize_advantages": False} if case.name == "ppo" else {}
    settings = case.settings(7, discount=0.87, **alone)  # of this test alone: what is compiled here has no noise
    state = case.fresh(settings)
    for seed in range(5):
        state, _ = updated(case.algorithm, settings)(state, case.batch(seed))
    stored, key = case.transitions(9, STORED), jax.random.key(6)
    found = gather_statistics(
        case.algorithm,
        settings,
        state,
        FROM_DATA,
        stored=stored,
        key=key,
        generator=np.random.default_rng(5),
        batches=BATCHES,
        batch_size=SIZE,
    )
    assert tuple(found) == case.groups
    generator = np.random.default_rng(5)
    rows = [generator.integers(STORED, size=SIZE) for _ in range(BATCHES)]
    data: Any = stored
    if case.algorithm.prepare is not None:
        data = case.algorithm.batch(case.algorithm.prepare(state, stored, settings, state), case.spec)
    with jax.enable_x64(True):
        batches = jax.tree.map(lambda leaf: leaf[np.stack(rows)], doubled(data))
        expected = reference(case, settings, doubled(state), batches, key)
    for group in case.groups:
        for name in FROM_DATA:
            assert found[group][name].keys() == kernels(state.params[group]).keys()
            for path, array in found[group][name].items():
                close(array, np.asarray(expected[group][name][path]), f"{name} {group}.{path}")


@partial(jax.jit, static_argnums=(0, 1))
def reference(case: Case, settings: Any, state: Any, batches: Any, key: jax.Array) -> Any:
    """Group -> statistic -> path -> array, for batches with a leading axis."""

    def of_group(group: str) -> dict[str, dict[str, jax.Array]]:
        weights = state.params[group]

        def gradient(weights: Any, batch: Any) -> Any:
            return jax.grad(case.algorithm.losses(state, batch, key, settings)[group])(weights)

        def of_one(transition: Any) -> Any:
            return kernels(gradient(weights, jax.tree.map(lambda leaf: leaf[None], transition)))

        def along_itself(batch: Any, slopes: dict[str, jax.Array]) -> dict[str, jax.Array]:
            """The central difference of the batch's gradient."""
            ends = [
                kernels(gradient(moved(weights, {path: step * slope for path, slope in slopes.items()}), batch))
                for step in (1e-5, -1e-5)
            ]
            return {path: (ends[0][path] - ends[1][path]) / 2e-5 for path in slopes}

        each = jax.vmap(jax.vmap(of_one))(batches)  # path -> (batch, transition, in, out)
        of_batches = {path: slopes.mean(axis=1) for path, slopes in each.items()}
        inputs = jax.vmap(lambda batch: case.algorithm.layer_inputs(state, batch, settings)[group])(batches)
        changes = jax.vmap(along_itself)(batches, of_batches)
        return {
            "mean_gradient": {path: slopes.mean(axis=0) for path, slopes in of_batches.items()},
            "mean_abs_gradient": {path: jnp.abs(slopes).mean(axis=0) for path, slopes in of_batches.items()},
            "mean_squared_gradient": {path: jnp.square(slopes).mean(axis=(0, 1)) for path, slopes in each.items()},
            "hessian_gradient": {path: change.mean(axis=0) for path, change in changes.items()},
            "input_norm": {path: jnp.sqrt(jnp.square(of).mean(axis=(0, 1))) for path, of in inputs.items()},
        }

    return {group: of_group(group) for group in case.groups}


def moved(weights: Any, by: dict[str, Any]) -> Any:
    """Weights with something added to each kernel."""

    def add(path: Any, leaf: Any) -> Any:
        *parents, name = (entry.key for entry in path)
        return leaf + by[".".join(parents)] if name == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(add, weights)


def doubled(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, "float64") if leaf.dtype == np.float32 else leaf, tree)


def close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * scale, err_msg=what)
    assert scale > 0, what


# Masks that change.

HIDDEN, SPARSITY, LAST = (12, 8), 0.6, 12


def dynamic(case: Case, kind: Any) -> DynamicSparsity:
    return DynamicSparsity(
        kind=kind,
        interval=4,
        begin=4,
        end=LAST,
        drop=0.5,
        sparsity=dict.fromkeys(case.groups, SPARSITY),
        allocation="global" if kind == "gradual" else "erk",
        floor=1,
        algorithm=case.algorithm,
        settings=case.settings(*HIDDEN),
        streams=Streams("tests", case.task, 0, kind),
    )


@cache
def trained(case: Case, kind: str) -> tuple[DynamicSparsity, list[tuple[int, Any, Any]]]:
    """The masks, and at each step the states before and after they may change."""
    masks, seen = dynamic(case, kind), []
    state = masks.start(case.fresh(masks.settings))
    for step in range(1, LAST + 2):
        batch = case.batch(step)
        before, _ = updated(case.algorithm, masks.settings)(state, batch)
        state = masks.update(before, step, batch)
        seen.append((step, before, state))
    return masks, seen


def each_kernel(case: Case, *states: Any) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """Group and path of each kernel, and its mask in each state."""
    of_states = [masks_of(state) for state in states]
    for group in case.groups:
        for path in of_states[0][group]:
            yield group, path, [masks[group][path] for masks in of_states]


@OTHERS
@pytest.mark.parametrize("kind", ["gradual", "set", "rigl"])
def test_masks_hold_everywhere_and_keep_their_counts(case: Case, kind: str) -> None:
    _, seen = trained(case, kind)
    changed = set()
    for step, before, after in seen:
        for group, path, (old, new) in each_kernel(case, before, after):
            for state, mask in ((before, old), (after, new)):
                for name, array in places(case, state, group, path).items():
                    assert not array[~mask].any(), name
            changed |= {step} if (old != new).any() else set()
            assert kind == "gradual" or old.sum() == new.sum()
            assert kind != "gradual" or not (new & ~old).any()
    assert changed == ({8, LAST} if kind == "gradual" else {4, 8})
    for group, layers in masks_of(seen[-1][2]).items():
        for network in by_network(layers).values():
            kept, size = (sum(of) for of in zip(*survivors(network).values(), strict=True))
            assert kind != "gradual" or kept == survivor_count(size, SPARSITY), group


@partial(jax.jit, static_argnums=(0, 1))
def gradients_of(case: Case, settings: Any, state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
    losses = case.algorithm.losses(state, batch, key, settings)
    return {group: jax.grad(loss)(state.params[group]) for group, loss in losses.items()}


@OTHERS
def test_rigl_grows_from_zero_where_the_gradient_of_the_groups_loss_is_largest(case: Case) -> None:
    masks, seen = trained(case, "rigl")
    step, before, after = seen[7]
    words = divmod(masks.streams.for_purpose("mask update", step), 2**32)
    key = jax.random.wrap_key_data(np.array(words, np.uint32))
    gradients = gradients_of(case, masks.settings, before, case.batch(step), key)
    grown = 0
    for group, path, (old, new) in each_kernel(case, before, after):
        size = np.abs(np.asarray(kernels(gradients[group])[path]))
        born, unborn = new & ~old, ~new
        grown += int(born.sum())
        # Compiled apart, the gradients agree to rounding.
        assert not born.any() or size[born].min() >= size[unborn].max() - 1e-5
        for name, array in places(case, after, group, path).items():
            assert not array[born].any(), name
    assert grown > 5
