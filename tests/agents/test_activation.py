"""The activation function that a config chooses is that of every network, in everything that an algorithm computes."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from rlottery.activations import Activation
from rlottery.agents import networks
from tests.cases import EACH, Case


def computed(case: Case, activation: Activation) -> None:
    """Trace all functions of an algorithm that apply networks, with `activation` in all of them."""
    settings = case.settings(7, 5, activation=activation)
    assert {one.activation for one in case.description.networks(case.spec, settings)} == {activation}
    state, batch, key = case.fresh(settings), case.batch(), jax.random.key(0)
    jax.eval_shape(partial(case.algorithm.update, settings=settings), state, batch)
    jax.eval_shape(partial(case.algorithm.layer_inputs, settings=settings), state, batch)

    def gradients(params: Any) -> Any:
        losses = case.algorithm.losses(state, batch, key, settings)
        return {group: jax.grad(loss)(params[group]) for group, loss in losses.items()}

    jax.eval_shape(gradients, state.params)
    if case.algorithm.prepare is not None:
        prepare = partial(case.algorithm.prepare, settings=settings, collected_by=state)
        jax.eval_shape(prepare, state, jax.tree.map(np.asarray, case.transitions(size=10)))


@EACH
def test_no_other_one_is_computed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(values: jax.Array) -> jax.Array:
        raise AssertionError("another activation function")

    for chosen, other in (("tanh", "relu"), ("relu", "tanh")):
        with monkeypatch.context() as patched:
            patched.setitem(networks._IN_JAX, other, fails)
            computed(case, chosen)  # type: ignore[arg-type]
            with pytest.raises(AssertionError, match="another activation function"):
                computed(case, other)  # type: ignore[arg-type]
