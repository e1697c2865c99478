"""A step of Adam by the kernels is that of XLA's program for optax, to the bit."""

from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import pytest

from rlottery.agents.adam import Adam
from rlottery.agents.kernels.layout import Layout
from rlottery.agents.kernels.library import INSTRUCTION_SETS, PORTABLE, find, register
from rlottery.agents.kernels.native import Compact
from rlottery.training.compilation import compiler_options
from tests.agents.kernels.agents import arrays, call_with, compile_as_users_do, fresh, learner, ticket, transitions
from tests.cases import CASES, Case
from tests.compiler_options import AS_USERS_HAVE_IT

pytestmark = pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")

RATE = 3e-4
SIZES = (1, 7, 16, 33, 4096)
GRADIENTS = {
    "usual": lambda rng, size: rng.normal(size=size),
    "of all sizes": lambda rng, size: rng.normal(size=size) * 10.0 ** rng.uniform(-20, 15, size=size),
    "mostly zero": lambda rng, size: rng.normal(size=size) * (rng.random(size) < 0.1),
    "with squares that overflow": lambda rng, size: rng.choice([1e30, 1.0], size=size),
    "not finite": lambda rng, size: rng.choice([np.inf, -np.inf, np.nan, 1.0], size=size),
}


def by_optax(gradient: Any, state: Any, weights: Any) -> tuple[Any, Any]:
    step, state = optax.adam(RATE).update(gradient, state)
    return optax.apply_updates(weights, step), state


def network(vector: np.ndarray) -> Compact:
    return Compact(vector.astype(np.float32), Layout((1, 1), (0,), vector.size))


def check(networks: int, size: int, gradients: str, steps: int = 30) -> None:
    """Steps of one group with this number of networks. Moments and weights go on from those of the kernels."""
    rng = np.random.default_rng(size)
    options = compiler_options() | AS_USERS_HAVE_IT
    ours = jax.jit(partial(Adam(RATE).step, masks={}), compiler_options=options)
    theirs = jax.jit(by_optax, compiler_options=options)
    weights = {f"q{number}": network(rng.normal(size=size)) for number in range(networks)}
    state = Adam(RATE).init(weights)
    for number in range(steps):
        gradient = {name: network(GRADIENTS[gradients](rng, size)) for name in weights}
        expected, (weights, state) = theirs(gradient, state, weights), ours(gradient, state, weights)
        for found, other in zip(jax.tree.leaves((weights, state)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(found, other, err_msg=f"step {number} of {networks} x {size}")


def check_all() -> None:
    for networks in (1, 2):
        for size in SIZES:
            check(networks, size, "of all sizes")
        for gradients in GRADIENTS:
            check(networks, 33, gradients)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_steps_are_those_of_optax(instruction_set: str) -> None:
    """With the portable kernels, they are optax's own."""
    call_with(instruction_set, f"{__name__}:check_all")


def test_it_is_the_kernels_that_step() -> None:
    register()
    weights = network(np.ones(5))
    made = jax.make_jaxpr(partial(Adam(RATE).step, masks={}))(weights, Adam(RATE).init(weights), weights)
    assert ("rlottery_adam" in str(made)) == (find().instruction_set != PORTABLE)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("sac", "td3")], ids=str)
@pytest.mark.parametrize("make", [fresh, partial(ticket, 0.9), partial(ticket, 0.2)], ids=["dense", "90 %", "20 %"])
def test_updates_have_the_bits_of_those_in_which_optax_steps(
    make: Any, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_as_users_do(monkeypatch)
    ours = learner(make(case=case), kernels=True, case=case)
    batches = transitions(5, case=case)
    found = [ours.update(rows) for rows in batches]
    monkeypatch.setattr("rlottery.agents.adam.loaded_instruction_set", lambda: PORTABLE)
    own = learner(make(case=case), kernels=True, case=case)
    assert found == [own.update(rows) for rows in batches]
    expected = arrays(own.state)
    for name, array in arrays(ours.state).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
