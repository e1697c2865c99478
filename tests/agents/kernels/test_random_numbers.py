"""Random numbers that the kernels draw are JAX's own."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import pytest

from rlottery.agents.kernels.library import find, register
from rlottery.agents.kernels.native import call
from rlottery.agents.kernels.random_numbers import KERNELS, standard_normal
from rlottery.agents.sac import SAC
from rlottery.training.compilation import compile_update, compiler_options
from tests.agents.kernels.agents import SETTINGS, SPEC, arrays, compile_as_users_do, learner, ticket, transitions
from tests.cases import CASES, Case
from tests.compiler_options import AS_USERS_HAVE_IT

pytestmark = pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")

WORDS = np.array([1, 2], np.uint32)
SHAPES = [(), (1,), (7,), (256, 4), (3, 5, 11), (0,), (2, 0)]
DRAWS: dict[str, Callable[[jax.Array, tuple[int, ...]], jax.Array]] = {
    "bits": jax.random.bits,
    "bytes": lambda key, shape: jax.random.bits(key, shape, "uint8"),
    "uniform": jax.random.uniform,
    "normal": jax.random.normal,
    "split": lambda key, shape: jax.random.key_data(jax.random.split(key, shape)),
    "another precision": lambda key, shape: jax.random.normal(key, shape, "float16"),
    "of a split key": lambda key, shape: jax.random.normal(jax.random.split(key, 3)[1], shape),
    "of a folded key": lambda key, shape: jax.random.normal(jax.random.fold_in(key, 5), shape),
    "of several keys": lambda key, shape: jax.vmap(lambda k: jax.random.normal(k, shape))(jax.random.split(key, 4)),
}


@pytest.fixture(autouse=True, scope="module")
def kernels() -> None:
    register()


def drawn_both_ways(
    draw: Callable[[jax.Array, tuple[int, ...]], jax.Array], shape: tuple[int, ...], words: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What JAX draws for a key with these words, and what the kernels draw."""
    own, ours = jax.random.wrap_key_data(words), jax.random.wrap_key_data(words, impl=KERNELS)
    return draw(own, shape), draw(ours, shape)


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_are_those_of_jax(name: str) -> None:
    for shape in SHAPES:
        both = jax.jit(partial(drawn_both_ways, DRAWS[name], shape))
        for words in ([0, 0], [0, 1], [2**32 - 1, 2**32 - 1], [0x13198A2E, 0x03707344]):
            expected, found = both(np.array(words, np.uint32))
            assert expected.shape == found.shape and expected.dtype == found.dtype
            assert np.array_equal(found, expected), shape


NORMAL: dict[str, Callable[[jax.Array, tuple[int, ...]], jax.Array]] = {
    "alone": standard_normal,
    "of a split key": lambda key, shape: standard_normal(jax.random.split(key, 3)[1], shape),
    "of several keys": lambda key, shape: jax.vmap(lambda k: standard_normal(k, shape))(jax.random.split(key, 4)),
    "of no keys": lambda key, shape: jax.vmap(lambda k: standard_normal(k, shape))(jax.random.split(key, 0)),
}


@pytest.mark.parametrize("name", NORMAL)
def test_normal_numbers_are_those_of_jax(name: str) -> None:
    draw, large = NORMAL[name], [(2**19, 4)] if name == "alone" else []
    for shape in (*SHAPES, *large):
        both = jax.jit(partial(drawn_both_ways, draw, shape), compiler_options=compiler_options() | AS_USERS_HAVE_IT)
        expected, found = map(np.asarray, both(WORDS))
        assert expected.shape == found.shape and expected.dtype == found.dtype == np.float32
        assert np.array_equal(found, expected), shape
        if shape in large:
            assert abs(found.mean()) < 0.003 and abs(found.std() - 1.0) < 0.003
            assert 4.9 < np.abs(found).max() < 5.5


def test_the_kernels_draw_in_updates() -> None:
    text = str(
        jax.make_jaxpr(lambda words: standard_normal(jax.random.wrap_key_data(words, impl=KERNELS), (5,)))(WORDS)
    )
    assert ("rlottery_normals" in text) == (find().instruction_set != "portable")
    agent = learner(ticket(0.9), kernels=True)
    assert agent._update is compile_update(SAC, SETTINGS, SPEC, agent._form, KERNELS)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("sac", "td3")], ids=str)
def test_updates_have_the_bits_of_those_for_which_jax_draws(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_as_users_do(monkeypatch)
    ours = learner(ticket(0.7, case=case), kernels=True, case=case)
    monkeypatch.setattr("rlottery.training.learner.KERNELS", None)
    own = learner(ticket(0.7, case=case), kernels=True, case=case)
    for rows in transitions(5, case=case):
        assert ours.update(rows) == own.update(rows)
    found, expected = arrays(ours.state), arrays(own.state)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_normal_number_depends_on_its_place_alone() -> None:
    def drawn(count: int) -> np.ndarray:
        return np.asarray(
            standard_normal(jax.random.wrap_key_data(np.array([5, 6], np.uint32), impl=KERNELS), (count,))
        )

    longest = drawn(70)
    for count in range(70):
        assert np.array_equal(drawn(count), longest[:count])


def test_words_follow_the_paper() -> None:
    """The known answer of the authors' library Random123 for counter 0 and key 0."""
    (words,) = call("rlottery_random_words", (2, 1), dtype=np.uint32)(np.zeros(2, np.uint32))
    assert np.asarray(words)[:, 0].tolist() == [0x6B200159, 0x99BA4EFE]


def test_older_order_of_jax() -> None:
    words = np.array([3, 4], np.uint32)
    with jax.threefry_partitionable(False):
        own, ours = jax.random.wrap_key_data(words), jax.random.wrap_key_data(words, impl=KERNELS)
        for shape in ((5,), (256, 4)):
            assert np.array_equal(jax.random.normal(own, shape), jax.random.normal(ours, shape))
            assert np.array_equal(jax.random.normal(own, shape), standard_normal(ours, shape))
            assert np.array_equal(*(jax.random.key_data(jax.random.split(key, shape)) for key in (own, ours)))
