"""Compiles updates, with the options of XLA's CPU compiler that measured faster on an AVX-512 machine."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import isfinite
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm, is_key
from rlottery.agents.description import Spec
from rlottery.storage.transitions import columns

_ROW = 256
"""Entries that `_all_finite` checks together."""

_OPTIONS = {
    # Its matrix products are slower than Eigen's at these sizes, on one thread.
    "xla_cpu_experimental_ynn_fusion_type": "",
    # A single thread gains nothing from an order of operations that would allow concurrency.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


class UpdateResult(NamedTuple):
    """The metrics of an update by name, and whether they and all weights are finite."""

    metrics: dict[str, float]
    finite: bool


@dataclass(frozen=True)
class StateForm:
    """How a state is passed to a compiled update, and what the update gives back: as flat tuples of plain arrays.

    Every dict, named tuple and typed key takes microseconds at each call, which would slow down sparse tickets. Masks
    and patterns are passed separately, because updates don't change them.

    Attributes:
        changing, constant: the structures of what an update changes, and of masks and patterns.
        keys: for each array of what an update changes, whether it is the words of a key.
    """

    changing: jax.tree_util.PyTreeDef
    constant: jax.tree_util.PyTreeDef
    keys: tuple[bool, ...]

    def join(self, arrays: Sequence[Any], constants: Sequence[Any], key_impl: Hashable | None = None) -> Any:
        """The state that `take_apart` was given. Its leaves may have become other arrays, or tracers.

        Args:
            key_impl: how its keys draw numbers: None for JAX's default, or `random_numbers.KERNELS`.
        """
        pairs = zip(arrays, self.keys, strict=True)
        leaves = [jax.random.wrap_key_data(array, impl=key_impl) if typed else array for array, typed in pairs]
        return self.join_words(leaves, constants)

    def join_words(self, arrays: Sequence[Any], constants: Sequence[Any]) -> Any:
        """`join`, with the words of keys in their places: wrapping them takes longer than all else."""
        masks, patterns = jax.tree.unflatten(self.constant, constants)
        return jax.tree.unflatten(self.changing, arrays)._replace(masks=masks, patterns=patterns)


def take_apart(state: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], StateForm]:
    """The arrays of a state that updates change, the others, and its form."""
    leaves, changing = jax.tree.flatten(state._replace(masks={}, patterns={}))
    constants, constant = jax.tree.flatten((state.masks, state.patterns))
    keys = tuple(is_key(leaf) for leaf in leaves)
    arrays = (jax.random.key_data(leaf) if typed else leaf for leaf, typed in zip(leaves, keys, strict=True))
    return tuple(arrays), tuple(constants), StateForm(changing, constant, keys)


@cache
def compile_update(
    algorithm: Algorithm, settings: Any, spec: Spec, form: StateForm, key_impl: Hashable | None
) -> Callable[..., tuple[tuple[jax.Array, ...], UpdateResult]]:
    """``(arrays, constants, rows of transitions) -> (arrays, result)`` for states of one form, compiled.

    The given arrays are consumed. Compiled once per process for equal arguments and shapes.

    Args:
        key_impl: how random numbers are drawn (`StateForm.join`).

    Raises:
        TypeError: the algorithm's update changes the structure of the state, or its masks or patterns. When it is first
            called.
    """
    packed_update, unpack = update_with_packed_result(algorithm, settings, spec)

    @partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    def update(arrays: Sequence[Any], constants: Sequence[Any], rows: jax.Array) -> tuple[tuple[Any, ...], jax.Array]:
        state, packed = packed_update(form.join(arrays, constants, key_impl), rows)
        changed, kept, found = take_apart(state)
        if found != form or any(one is not other for one, other in zip(kept, constants, strict=True)):
            raise TypeError(
                f"The update of {algorithm.description.name} must return a state of the structure that it was given, "
                "with the same masks and patterns."
            )
        return changed, packed

    def call(
        arrays: Sequence[Any], constants: Sequence[Any], rows: np.ndarray
    ) -> tuple[tuple[jax.Array, ...], UpdateResult]:
        changed, packed = update(arrays, constants, rows)
        return changed, unpack(np.asarray(packed))

    return call


def update_with_packed_result(
    algorithm: Algorithm, settings: Any, spec: Spec
) -> tuple[Callable[[Any, jax.Array], tuple[Any, jax.Array]], Callable[[np.ndarray], UpdateResult]]:
    """``(state, rows of transitions) -> (state, packed result)``, to be compiled, and the function that unpacks it.

    The result is packed into one vector because each array that leaves a program costs as much as a small operation.
    """
    names: list[str] = []

    def update(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        state, metrics = algorithm.update(state, algorithm.batch(rows, spec), settings)
        names[:] = sorted(metrics)
        finite = jnp.all(jnp.array([_all_finite(leaf) for leaf in jax.tree.leaves(state.params)]))
        return state, jnp.stack([*(metrics[name] for name in names), finite.astype(jnp.float32)])

    def unpack(packed: np.ndarray) -> UpdateResult:
        *metrics, finite = packed.tolist()
        return UpdateResult(dict(zip(names, metrics, strict=True)), finite == 1.0 and all(map(isfinite, metrics)))

    return update, unpack


@cache
def compile_preparation(algorithm: Algorithm, settings: Any, spec: Spec) -> Callable[..., tuple[Any, jax.Array]]:
    """``(state, rows of a rollout) -> (state with its statistics, rows that updates read)``, compiled.

    The given state is consumed.
    """

    @partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    def prepare(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        assert algorithm.prepare is not None
        rollout = columns(rows, *spec.sizes)
        observed = algorithm.observe(state, rollout, settings)
        return observed, algorithm.prepare(observed, rollout, settings, state)

    return prepare


def _all_finite(array: jax.Array) -> jax.Array:
    """Whether no entry of `array` is NaN or infinite: 0 times a finite number is 0, otherwise it is NaN.

    Written as a product with a vector of zeros: XLA vectorises such a sum, but evaluates `jnp.all` entry by entry.
    """
    flat = array.reshape(-1)
    whole = flat.size // _ROW * _ROW
    rest = jnp.sum(flat[whole:] * 0.0)
    if whole == 0:
        return jnp.isfinite(rest)
    rows = flat[:whole].reshape(-1, _ROW)
    return jnp.isfinite(rest + jnp.sum(rows @ (rows[0] * 0.0)))


@cache
def compile_noise(size: int, steps: int) -> Callable[..., jax.Array]:
    """``(words of a key, first step) -> noise (steps, size)``. A step's key is the key folded with the step."""

    @jax.jit
    def draw(words: jax.Array, first: int) -> jax.Array:
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.wrap_key_data(words)))(first + jnp.arange(steps))
        drawn: jax.Array = jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)
        return drawn

    return draw


@cache
def compiler_options() -> dict[str, str]:
    """The compiler options, or {} if this JAX doesn't know them or has no CPU backend."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=_OPTIONS)(0)
    except Exception:  # versions of JAX differ in what they raise for an unknown option
        return {}
    return _OPTIONS
