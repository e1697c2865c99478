"""Pruned weights stay exactly zero, in every arm: thousands of updates of random agents, with masks of every kind."""

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from rlottery.agents import sac
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import kernels, nest_kernels
from rlottery.agents.networks import Tree
from rlottery.agents.sac import SAC
from rlottery.config import NetworkSettings, SACSettings
from rlottery.errors import MaskError
from rlottery.pruning.initial_weights import permute_weights, rescale
from rlottery.pruning.masks import by_network
from rlottery.seeding import Streams
from rlottery.storage.transitions import Transitions
from rlottery.training.dynamic_sparsity import DynamicSparsity, masks_of
from tests.agents.small import SPEC, random_batch

SETTINGS = SACSetup(SACSettings(), NetworkSettings(actor=(6,), critic=(6, 5)))
STARTS = ("initial", "fresh", "permuted", "rescaled", "fine-tuned", "rewound")
MASKS = ("fixed", "gradual", "set", "rigl")
UPDATES, CHUNK = 1000, 125
"""Between two looks; masks that change do so at each of them."""


@cache
def batches() -> Transitions:
    """`CHUNK` batches, one behind the other."""
    return Transitions(*(np.stack(fields) for fields in zip(*map(random_batch, range(CHUNK)), strict=True)))


@jax.jit
def updated(state: sac.SACState) -> sac.SACState:
    """The state `CHUNK` updates later."""
    return jax.lax.scan(lambda state, batch: (sac.update(state, batch, SETTINGS)[0], None), state, batches())[0]


@jax.jit
def fresh(key: jax.Array) -> sac.SACState:
    return sac.init(sac.init_params(key, SPEC, SETTINGS), key, SETTINGS)


def started(how: str, seed: int, masks: Tree) -> sac.SACState:
    """An agent of these masks that starts as such arms do."""
    generator = np.random.default_rng(seed)
    state = fresh(jax.random.key(seed + (how == "fresh")))
    if how in ("fine-tuned", "rewound"):
        state = sac.rewind(updated(state), jax.random.key(seed), SETTINGS)
    for group, alive in masks.items():
        change: Any = {"permuted": lambda k, m: permute_weights(k, m, generator), "rescaled": rescale}.get(how)
        if change is not None and alive:
            flat = {path: np.asarray(kernel) for path, kernel in kernels(state.params[group]).items()}
            set_kernels(state.params[group], change(flat, {path: np.asarray(m) for path, m in kernels(alive).items()}))
    return SAC.with_masks(state, masks)


def set_kernels(tree: Tree, changed: dict[str, np.ndarray]) -> None:
    for path, kernel in changed.items():
        node = tree
        for name in path.split("."):
            node = node[name]
        node["kernel"] = jax.numpy.asarray(kernel)


def dynamic(kind: Any, seed: int, sparsity: dict[str, float]) -> DynamicSparsity:
    return DynamicSparsity(
        kind=kind,
        interval=CHUNK,
        begin=CHUNK,
        end=UPDATES - CHUNK,
        drop=0.5,
        sparsity=sparsity,
        allocation="global" if kind == "gradual" else "erk",
        floor=1,
        algorithm=SAC,
        settings=SETTINGS,
        streams=Streams("tests", "hold", seed, kind),
    )


def assert_zero(state: sac.SACState) -> None:
    """By hand, not by the algorithm's own check: NumPy, every place, negative zeros and NaN told apart."""
    for group, mask in masks_of(state).items():
        adam = state.optimizer[group][0]
        trees = [state.params[group], adam.mu, adam.nu, *([state.target_critic] if group == "critic" else [])]
        for tree in trees:
            for path, kernel in kernels(tree).items():
                array = np.asarray(kernel)
                assert np.isfinite(array).all()
                assert (array[~mask[path]] == 0).all(), path
    assert SAC.masks_hold(state)


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    how=st.sampled_from(STARTS),
    sparsity=st.fixed_dictionaries({"actor": st.floats(0, 0.8), "critic": st.floats(0, 0.8)}),
)
@pytest.mark.parametrize("kind", MASKS)
def test_pruned_weights_stay_zero_through_a_thousand_updates(
    kind: str, seed: int, how: str, sparsity: dict[str, float]
) -> None:
    rng = np.random.default_rng(seed)
    shapes = fresh(jax.random.key(0)).params
    drawn = {
        group: nest_kernels({p: rng.random(k.shape) >= sparsity[group] for p, k in kernels(tree).items()})
        for group, tree in shapes.items()
    }
    masks = None if kind == "fixed" else dynamic(kind, seed, sparsity)
    state = started(how, seed, drawn if masks is None else {"actor": {}, "critic": {}})
    if masks is not None:
        state = masks.start(state)
    first = masks_of(state)
    assert_zero(state)
    for step in range(CHUNK, UPDATES + CHUNK, CHUNK):
        before = np.asarray(kernels(state.params["actor"])["layer_0"])
        state = updated(state)
        assert_zero(state)
        alive = masks_of(state)["actor"]["layer_0"]
        assert not alive.any() or (np.asarray(kernels(state.params["actor"])["layer_0"]) != before)[alive].any()
        if masks is not None:
            try:
                state = masks.update(state, step, random_batch(step))
            except MaskError as error:
                assert kind == "gradual" and "is cut at layer" in str(error)
                reject()  # so few weights are left that no path leads through: refused, as it should be
            assert_zero(state)
    for group, layers in masks_of(state).items():
        if kind == "gradual":
            for network in by_network(layers).values():
                size = sum(layer.size for layer in network.values())
                kept = sum(int(layer.sum()) for layer in network.values())
                assert abs(kept - (1 - sparsity[group]) * size) <= 0.5 + 1e-9
        for path, layer in layers.items():
            assert kind == "gradual" or layer.sum() == first[group][path].sum()
            if kind == "fixed":
                np.testing.assert_array_equal(layer, first[group][path])
