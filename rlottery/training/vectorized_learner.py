"""Trains many agents as one program with `jax.vmap`, for accelerators, which a single agent cannot keep busy.

Each agent has its own training loop (the usual one) in its own thread. The threads meet before each update: as soon as
every expected agent has handed in its transitions, one thread runs the program for all of them. An agent is expected if
it has made an update and only stepped its environment since. Agents that are warming up, evaluating, saving or finished
are not: the others continue without them, and their states stay unchanged. No thread ever waits for a waiting thread,
so all make progress.

The result for an agent doesn't depend on when the others run, on what they are, or on how many of them remain.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from threading import Condition
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm, kernels, nest_masks
from rlottery.agents.description import Spec
from rlottery.agents.networks import Tree, mlp_in_numpy
from rlottery.training.compilation import (
    UpdateResult,
    compile_preparation,
    compiler_options,
    update_with_packed_result,
)
from rlottery.training.learner import Learner


class Group:
    """The states of `size` agents, stacked on the device, and the program that updates them."""

    def __init__(self, size: int):
        self._size = size
        self._places = iter(range(size))
        self._made: tuple[Algorithm, Any, Spec] | None = None
        self._states: Any = None
        # Guards the states and everything below: one thread at a time may use them.
        self._lock = Condition()
        self._rows = np.empty(0)
        self._expected: set[int] = set()
        self._ready: set[int] = set()
        self._results: dict[int, tuple[UpdateResult, jax.Array]] = {}
        self._failed: Exception | None = None

    @contextmanager
    def place(self) -> Iterator[Callable[..., Learner]]:
        """One of the group's `size` places, to be entered by the thread that trains the agent.

        When the context exits, for whatever reason, the group stops waiting for the agent. Its state stays unchanged
        and can still be read.

        Yields:
            a function that makes the learner, with the arguments of `CpuLearner`. All agents of a group have the same
            algorithm, settings and sizes. They may be dense or sparse, with fixed or changing masks.
        """
        place = next(self._places)
        try:
            yield partial(_Member, self, place)
        finally:
            self.leave(place)

    def join(self, place: int, algorithm: Algorithm, settings: Any, spec: Spec, state: Any) -> None:
        """Put the first state in a place. The first agent to join defines the group.

        Raises:
            ValueError: the algorithm, settings or sizes differ from those of the others.
        """
        with self._lock:
            if self._made is None:
                self._made = (algorithm, settings, spec)
                self._update, self._unpack = compile_together(algorithm, settings, spec)
                self._states = spread(state, self._size)
            if self._made != (algorithm, settings, spec):
                raise ValueError("agents of different algorithms, settings or sizes can't be trained together")
        self.put(place, state)

    def update(self, place: int, rows: np.ndarray) -> tuple[UpdateResult, jax.Array]:
        """Wait for all expected agents, then update together with them.

        Returns:
            the result for this place; and the acting networks of all agents as rows of one array, whose copy to the
            host has started.

        Raises:
            ValueError: the batch size differs from that of the others.
            RuntimeError: the program failed, for all agents.
        """
        with self._lock:
            if not self._rows.size:
                self._rows = np.zeros((self._size, *rows.shape), rows.dtype)
            if rows.shape != self._rows.shape[1:]:
                raise ValueError("agents of different batch sizes can't be trained together")
            self._rows[place] = rows
            self._expected.add(place)
            self._ready.add(place)
            while place not in self._results:
                if self._failed is not None:
                    raise RuntimeError(f"the group's update failed: {self._failed}") from self._failed
                if self._ready == self._expected:
                    self._run()
                else:
                    self._lock.wait()
            return self._results.pop(place)

    def _run(self) -> None:
        updates = np.zeros(self._size, np.bool_)
        updates[list(self._ready)] = True
        try:
            self._states, packed, networks = self._update(self._states, self._rows, updates)
            networks.copy_to_host_async()
            by_place = np.asarray(packed)
        except Exception as error:  # such as out of memory: the states are lost
            self._failed = error
        else:
            self._results |= {place: (self._unpack(by_place[place]), networks) for place in self._ready}
        self._ready.clear()
        self._lock.notify_all()

    def stand_aside(self, place: int) -> None:
        """Don't wait for this agent until its next update."""
        if place in self._expected:  # only its own thread adds it
            self.leave(place)

    def leave(self, place: int) -> None:
        """Don't wait for this agent any more."""
        with self._lock:
            self._expected.discard(place)
            self._ready.discard(place)
            self._lock.notify_all()

    def take(self, place: int, *, aside: bool = True) -> Any:
        """A copy of the state in this place.

        Args:
            aside: whether the others needn't wait for this agent until its next update.
        """
        if aside:
            self.stand_aside(place)
        with self._lock:
            return _take(self._states, place)

    def put(self, place: int, state: Any, *, aside: bool = True) -> None:
        """Replace the state in this place. `aside` is as for `take`."""
        if aside:
            self.stand_aside(place)
        with self._lock:
            self._states = _put(self._states, place, state)


class _Member(Learner):
    """The learner of one agent of a group, for use by one thread.

    All agents of a group carry masks; a dense agent's prune nothing, and are removed when its state is read.
    """

    def __init__(
        self,
        group: Group,
        place: int,
        algorithm: Algorithm,
        settings: Any,
        state: Any,
        spec: Spec,
        noise: np.ndarray,
        *,
        masks_change: bool = False,  # always possible: the masks are data of the program
    ):
        super().__init__(algorithm, settings, spec, noise)
        self._group, self._place = group, place
        self._unpack = _unpacks(_acting(algorithm, state))
        self._is_dense = not state.masks
        self._networks: jax.Array | None = None
        self._acting: tuple[Tree, dict[str, np.ndarray]] | None = jax.tree.map(np.asarray, _acting(algorithm, state))
        group.join(place, algorithm, settings, spec, with_masks(state))

    @property
    def state(self) -> Any:
        state = self._group.take(self._place)
        return state._replace(masks={}) if self._is_dense else state

    @state.setter
    def state(self, state: Any) -> None:
        self._is_dense = not state.masks
        self._acting = jax.tree.map(np.asarray, _acting(self.algorithm, state))
        self._group.put(self._place, with_masks(state))

    def update(self, rows: np.ndarray) -> UpdateResult:
        result, self._networks = self._group.update(self._place, rows)
        self._acting = None
        return result

    def prepare(self, rows: np.ndarray) -> np.ndarray:
        # The others wait meanwhile, as they would while this agent takes steps: all then update together.
        state = self._group.take(self._place, aside=False)
        observed, prepared = compile_preparation(self.algorithm, self._settings, self._spec)(state, rows)
        self._acting = jax.tree.map(np.asarray, _acting(self.algorithm, observed))
        self._group.put(self._place, observed, aside=False)
        return np.asarray(prepared)

    def act_deterministic_together(self, observations: np.ndarray) -> np.ndarray:
        self._group.stand_aside(self._place)  # an evaluation has started
        return super().act_deterministic_together(observations)

    def outputs(self, observation: np.ndarray) -> np.ndarray:
        if self._acting is None:
            self._acting = self._unpack(np.asarray(self._networks)[self._place])
        network, arrays = self._acting
        of_network = mlp_in_numpy(network, self.algorithm.see(observation, arrays), self._activation)
        outputs: np.ndarray = self.algorithm.complete(of_network, arrays)
        return outputs


def _acting(algorithm: Algorithm, state: Any) -> tuple[Tree, dict[str, Any]]:
    """Everything in a state that acting needs."""
    return algorithm.acting(state.params), algorithm.acting_arrays(state)


def with_masks(state: Any) -> Any:
    """`state`; if it is dense, with masks that prune nothing."""
    if state.masks:
        return state
    by_group = {group: kernels(tree) for group, tree in state.params.items()}
    return state._replace(masks=nest_masks(jax.tree.map(lambda kernel: np.ones(kernel.shape, np.bool_), by_group)))


@cache
def compile_together(
    algorithm: Algorithm, settings: Any, spec: Spec
) -> tuple[Callable[..., tuple[Any, jax.Array, jax.Array]], Callable[[np.ndarray], UpdateResult]]:
    """The program that updates a group of n agents, and the function that unpacks the result of one.

    The program: (states, rows of transitions (n, batch, row), which agents to update (n,)) -> (states, packed results
    (n, results), acting networks as vectors (n, weights)). It consumes the given states.
    """
    packed_update, unpack = update_with_packed_result(algorithm, settings, spec)

    @partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    @jax.vmap
    def update(before: Any, rows: jax.Array, updates: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        after, packed = packed_update(before, rows)
        state = jax.tree.map(partial(jnp.where, updates), after, before)
        # One array, so that the copy to the host is one transfer.
        network = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(_acting(algorithm, state))])
        return state, packed, network

    return update, unpack


@partial(jax.jit, donate_argnums=0)
def _put(states: Any, place: int, state: Any) -> Any:
    return jax.tree.map(lambda of_all, of_one: of_all.at[place].set(of_one), states, state)


@jax.jit
def _take(states: Any, place: int) -> Any:
    return jax.tree.map(lambda of_all: of_all[place], states)


@partial(jax.jit, static_argnums=1)
def spread(state: Any, size: int) -> Any:
    """`size` copies of a state, stacked."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), state)


def _unpacks(network: Any) -> Callable[[np.ndarray], Any]:
    """The function that turns a vector from the group's program into a tree like this one, as views."""
    leaves, structure = jax.tree.flatten(network)
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)]).tolist()
    pieces = [(slice(*span), leaf.shape) for span, leaf in zip(pairwise(ends), leaves, strict=True)]

    def unpack(vector: np.ndarray) -> Any:
        return jax.tree.unflatten(structure, [vector[where].reshape(shape) for where, shape in pieces])

    return unpack
