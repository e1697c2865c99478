"""Many agents that train as one program: `jax.vmap` over all of them, for accelerators, which one agent can't fill.

Each agent is trained by the loop that trains every other, in a thread of its own. They meet before each update: once
all that are awaited have handed in their transitions, one of them runs the program for all. Awaited is who has made an
update and has only stepped its environment since. Who warms up, evaluates, saves or has left is not: the others go on,
and its own agent stays as it is. Nobody ever waits for somebody who waits, so all get on.

What becomes of an agent doesn't depend on when the others run, on what they are, or on which of them are left.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from threading import Condition
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm, Spec, Tree, kernels, nest_masks
from rlottery.agents.networks import mlp_in_numpy
from rlottery.training.compilation import Updated, compiler_options, telling_update
from rlottery.training.learner import Learner, Noise


class Group:
    """The states of `size` agents, side by side on the device, and the program that updates them."""

    def __init__(self, size: int):
        self._size = size
        self._places = iter(range(size))
        self._made: tuple[Algorithm, Any, Spec] | None = None
        self._states: Any = None
        # What follows, and the states, are touched by one thread at a time.
        self._turn = Condition()
        self._rows = np.empty(0)
        self._awaited: set[int] = set()
        self._handed_in: set[int] = set()
        self._told: dict[int, tuple[Updated, jax.Array]] = {}
        self._failed: Exception | None = None

    @contextmanager
    def place(self) -> Iterator[Callable[..., Learner]]:
        """A place for one agent, to be entered by the thread that trains it; there are `size` of them.

        Left, however that comes, it is awaited no more; its agent stays as it is, and can still be read.

        Yields:
            what makes the learner, with the arguments of `CpuLearner`. All agents of a group have the same algorithm,
            settings and sizes; they may be dense or sparse, fixed or changing.
        """
        place = next(self._places)
        try:
            yield partial(_Member, self, place)
        finally:
            self.leave(place)

    def join(self, place: int, algorithm: Algorithm, settings: Any, spec: Spec, state: Any) -> None:
        """Put the first state in a place; the group is made by the first who comes.

        Raises:
            ValueError: the others are of another kind.
        """
        with self._turn:
            if self._made is None:
                self._made, self._program = (algorithm, settings, spec), _compile(algorithm, settings, spec)
                self._states = _spread(state, self._size)
            if self._made != (algorithm, settings, spec):
                raise ValueError("agents of different algorithms, settings or sizes can't be trained together")
        self.put(place, state)

    def update(self, place: int, rows: np.ndarray) -> tuple[Updated, jax.Array]:
        """Wait until all that are awaited have come, and update with them.

        Returns:
            what this place's update tells; and the actors of all as rows of one array, begun to be copied to the host.

        Raises:
            ValueError: another batch size than the others'.
            RuntimeError: the program failed, for all.
        """
        with self._turn:
            if not self._rows.size:
                self._rows = np.zeros((self._size, *rows.shape), rows.dtype)
            if rows.shape != self._rows.shape[1:]:
                raise ValueError("agents of different batch sizes can't be trained together")
            self._rows[place] = rows
            self._awaited.add(place)
            self._handed_in.add(place)
            while place not in self._told:
                if self._failed is not None:
                    raise RuntimeError(f"the program of all failed: {self._failed}") from self._failed
                if self._handed_in == self._awaited:
                    self._run()
                else:
                    self._turn.wait()
            return self._told.pop(place)

    def _run(self) -> None:
        updates = np.zeros(self._size, np.bool_)
        updates[list(self._handed_in)] = True
        try:
            self._states, told, actors = self._program.update(self._states, self._rows, updates)
            actors.copy_to_host_async()
            by_place = np.asarray(told)
        except Exception as error:  # out of memory, say: the states are gone
            self._failed = error
        else:
            self._told |= {place: (self._program.read(by_place[place]), actors) for place in self._handed_in}
        self._handed_in.clear()
        self._turn.notify_all()

    def stand_aside(self, place: int) -> None:
        """Not to be waited for until the next update."""
        if place in self._awaited:  # only its own thread puts it there
            self.leave(place)

    def leave(self, place: int) -> None:
        """Not to be waited for."""
        with self._turn:
            self._awaited.discard(place)
            self._handed_in.discard(place)
            self._turn.notify_all()

    def take(self, place: int) -> Any:
        """A copy of the state in a place."""
        self.stand_aside(place)
        with self._turn:
            return self._program.take(self._states, place)

    def put(self, place: int, state: Any) -> None:
        """Replace the state in a place."""
        self.stand_aside(place)
        with self._turn:
            self._states = self._program.put(self._states, place, state)


class _Member:
    """One agent of a group, as the training loop knows it; for one thread.

    All carry masks, a dense agent such as prune nothing. Its state has none when it is read, as it had when it was set.
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
        masks_change: bool = False,  # they may, always: they are not compiled in
    ):
        self.algorithm = algorithm
        self._group, self._place = group, place
        self._noise = Noise(noise, spec.action_size)
        self._unpack = _unpacks(state.params["actor"])
        self._is_dense = not state.masks
        self._actors: jax.Array | None = None
        self._actor: Tree | None = _in_numpy(state.params["actor"])
        group.join(place, algorithm, settings, spec, _with_masks(state))

    @property
    def state(self) -> Any:
        state = self._group.take(self._place)
        return state._replace(masks={}) if self._is_dense else state

    @state.setter
    def state(self, state: Any) -> None:
        self._is_dense = not state.masks
        self._actor = _in_numpy(state.params["actor"])
        self._group.put(self._place, _with_masks(state))

    def update(self, rows: np.ndarray) -> Updated:
        told, self._actors = self._group.update(self._place, rows)
        self._actor = None
        return told

    def act(self, observation: np.ndarray, step: int) -> np.ndarray:
        action: np.ndarray = self.algorithm.act(self._actor_outputs(observation), self._noise.at(step))
        return action

    def act_deterministic(self, observation: np.ndarray) -> np.ndarray:
        self._group.stand_aside(self._place)  # an evaluation has begun
        action: np.ndarray = self.algorithm.act(self._actor_outputs(observation), None)
        return action

    def _actor_outputs(self, observation: np.ndarray) -> np.ndarray:
        if self._actor is None:
            self._actor = self._unpack(np.asarray(self._actors)[self._place])
        return mlp_in_numpy(self._actor, observation)


def _with_masks(state: Any) -> Any:
    """`state`, a dense one with masks that prune nothing."""
    if state.masks:
        return state
    return state._replace(
        masks=nest_masks(
            {
                group: {path: np.ones(kernel.shape, np.bool_) for path, kernel in kernels(tree).items()}
                for group, tree in state.params.items()
            }
        )
    )


def _in_numpy(actor: Tree) -> Tree:
    tree: Tree = jax.tree.map(np.asarray, actor)
    return tree


class _Program(NamedTuple):
    """What is compiled for a group of n, the states it is given used up but for `take`.

    Attributes:
        update: (states, rows of transitions (n, batch, row), which of them to update (n,)) -> (states, what each tells
            (n, told), each one's actor as a vector (n, weights)).
        put: (states, place, state) -> states.
        take: (states, place) -> state.
        read: what the vector that one tells says.
    """

    update: Callable[..., tuple[Any, jax.Array, jax.Array]]
    put: Callable[..., Any]
    take: Callable[..., Any]
    read: Callable[[np.ndarray], Updated]


@cache
def _compile(algorithm: Algorithm, settings: Any, spec: Spec) -> _Program:
    told_update, read = telling_update(algorithm, settings, spec)

    @partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    @jax.vmap
    def update(before: Any, rows: jax.Array, updates: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        after, told = told_update(before, rows)
        state = jax.tree.map(partial(jnp.where, updates), after, before)
        # One array: its copy to the host is one transfer.
        return state, told, jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(state.params["actor"])])

    @partial(jax.jit, donate_argnums=0)
    def put(states: Any, place: int, state: Any) -> Any:
        return jax.tree.map(lambda of_all, of_one: of_all.at[place].set(of_one), states, state)

    @jax.jit
    def take(states: Any, place: int) -> Any:
        return jax.tree.map(lambda of_all: of_all[place], states)

    return _Program(update, put, take, read)


@partial(jax.jit, static_argnums=1)
def _spread(state: Any, size: int) -> Any:
    """As many copies of a state side by side."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), state)


def _unpacks(actor: Tree) -> Callable[[np.ndarray], Tree]:
    """What takes an actor out of the vector that `_Program.update` gives; views."""
    leaves, structure = jax.tree.flatten(actor)
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)]).tolist()
    pieces = [(slice(*span), leaf.shape) for span, leaf in zip(pairwise(ends), leaves, strict=True)]

    def unpack(vector: np.ndarray) -> Tree:
        tree: Tree = jax.tree.unflatten(structure, [vector[where].reshape(shape) for where, shape in pieces])
        return tree

    return unpack
