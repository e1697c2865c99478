"""An agent in training: updates and acts in the fastest form available, and exposes its state in the saved form."""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rlottery.activations import Activation
from rlottery.agents.base import Algorithm
from rlottery.agents.compact import compact, expand
from rlottery.agents.description import Spec
from rlottery.agents.kernels.layout import Layout
from rlottery.agents.kernels.library import find, register
from rlottery.agents.kernels.native import MAX_LAYERS, number_of
from rlottery.agents.kernels.random_numbers import KERNELS
from rlottery.agents.networks import mlp_in_numpy
from rlottery.training.compilation import UpdateResult, compile_noise, compile_preparation, compile_update, take_apart

NOISE_STEPS = 1024
"""Steps whose action noise is drawn in one call. A step's noise doesn't depend on this number."""


class Learner(ABC):
    """The interface between the training loop and the agent that it trains.

    Args:
        noise: seed of the action noise, as the two words of a JAX key.

    Attributes:
        networks: those of the agent.
    """

    def __init__(self, algorithm: Algorithm, settings: Any, spec: Spec, noise: np.ndarray):
        self.algorithm, self._settings, self._spec = algorithm, settings, spec
        self._noise = Noise(noise, algorithm.noise_size(spec))
        self.networks = algorithm.description.networks(spec, settings)
        self._activation = algorithm.description.acting_activation(spec, settings)

    @property
    @abstractmethod
    def state(self) -> Any:
        """The agent's state in the saved form: dense weights, masks, no patterns. Setting it replaces the agent.

        The next update consumes the arrays that were set, or read, here.
        """

    @state.setter
    @abstractmethod
    def state(self, state: Any) -> None: ...

    @abstractmethod
    def update(self, rows: np.ndarray) -> UpdateResult:
        """One update on transitions (batch, row), in the replay buffer's format."""

    @abstractmethod
    def prepare(self, rows: np.ndarray) -> np.ndarray:
        """What updates learn from a rollout, (n, row), whose transitions are (n, row). Statistics learn from it too."""

    @abstractmethod
    def outputs(self, observation: np.ndarray) -> np.ndarray:
        """The outputs (out,) of what chooses actions, for `observation` (obs,)."""

    def outputs_together(self, observations: np.ndarray) -> np.ndarray:
        """The outputs (n, out) for `observations` (n, obs). Each row has the bits that `outputs` gives."""
        return np.stack([self.outputs(observation) for observation in observations])

    def act(self, observation: np.ndarray, step: int, steps_before: int = 0) -> np.ndarray:
        """The exploring action (act,) for `observation` (obs,) at an environment step of the run.

        Args:
            steps_before: the agent's environment steps before this run, for schedules.
        """
        action: np.ndarray = self.act_together(np.asarray(observation)[None], step, steps_before)[0]
        return action

    def act_together(self, observations: np.ndarray, first_step: int, steps_before: int = 0) -> np.ndarray:
        """Exploring actions (n, act) for `observations` (n, obs) at consecutive steps. Each is what `act` gives."""
        rows = enumerate(self.outputs_together(observations), start=first_step)
        explore, noise = self.algorithm.explore, self._noise
        return stacked([explore(row, noise.at(step), steps_before + step, self._settings) for step, row in rows])

    def act_deterministic(self, observation: np.ndarray) -> np.ndarray:
        """The deterministic action (act,) that is evaluated."""
        action: np.ndarray = self.act_deterministic_together(np.asarray(observation)[None])[0]
        return action

    def act_deterministic_together(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions (n, act) for `observations` (n, obs). Each is what `act_deterministic` gives."""
        outputs = self.outputs_together(observations)
        return stacked([self.algorithm.deterministic(row, self._spec) for row in outputs])


class CpuLearner(Learner):
    """An agent on one core: compact where the compiled kernels can be used, otherwise dense.

    Args:
        kernels: whether to use the compiled kernels; None uses them wherever possible.
        masks_change: the number of survivors will change during training.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        settings: Any,
        state: Any,
        spec: Spec,
        noise: np.ndarray,
        *,
        kernels: bool | None = None,
        masks_change: bool = False,
    ):
        super().__init__(algorithm, settings, spec, noise)
        compiled = jax.default_backend() == "cpu" and find().usable if kernels is None else kernels
        compiled = compiled and all(len(network.layers) <= MAX_LAYERS for network in self.networks)
        self._library = register() if compiled else None
        self._masks_change = masks_change
        self.state = state

    @property
    def state(self) -> Any:
        if self._library is None:
            return self.held
        return expand(self.algorithm, self.held, self._packings, self._masks)

    @state.setter
    def state(self, state: Any) -> None:
        held = state
        if self._library is not None:
            self._masks = state.masks
            held, self._packings = compact(self.algorithm, state, masks_change=self._masks_change)
            layout, pattern = self.algorithm.acting(held.params).layout, self.algorithm.acting(held.patterns)
            self._compact = _CompactOutputs(self._library, layout, self._activation, np.asarray(pattern))
        self._hold(held)

    @property
    def held(self) -> Any:
        """The agent's state in the form that is trained."""
        return self._form.join(self._arrays, self._constants)

    def _hold(self, held: Any) -> None:
        self._arrays, self._constants, self._form = take_apart(held)
        key_impl = None if self._library is None else KERNELS
        self._update = compile_update(self.algorithm, self._settings, self._spec, self._form, key_impl)
        places = self._form.changing.unflatten(range(len(self._arrays)))
        self._acting_places = self.algorithm.acting(places.params)
        self._acting_arrays: dict[str, np.ndarray] | None = None

    def update(self, rows: np.ndarray) -> UpdateResult:
        self._arrays, result = self._update(self._arrays, self._constants, rows)
        if self._acting_arrays:  # an algorithm without any has none later
            self._acting_arrays = None
        return result

    def prepare(self, rows: np.ndarray) -> np.ndarray:
        held, prepared = compile_preparation(self.algorithm, self._settings, self._spec)(self.held, rows)
        self._hold(held)
        return np.asarray(prepared)

    def outputs(self, observation: np.ndarray) -> np.ndarray:
        outputs: np.ndarray = self.outputs_together(np.asarray(observation)[None])[0]
        return outputs

    def outputs_together(self, observations: np.ndarray) -> np.ndarray:
        if self._acting_arrays is None:
            state = self._form.join_words(self._arrays, self._constants)
            self._acting_arrays = {name: np.array(of) for name, of in self.algorithm.acting_arrays(state).items()}
        seen = self.algorithm.see(observations, self._acting_arrays)
        if self._library is None:  # NumPy's product of two matrices has other bits than those of its rows
            network = jax.tree.map(self._arrays.__getitem__, self._acting_places)
            outputs = np.stack([mlp_in_numpy(network, one, self._activation) for one in seen])
        else:
            outputs = self._compact(self._arrays[self._acting_places.vector], seen)
        completed: np.ndarray = self.algorithm.complete(outputs, self._acting_arrays)
        return completed


class Noise:
    """Standard normal noise for a run's actions. A step's noise depends only on the run and the step."""

    def __init__(self, words: np.ndarray, size: int):
        self._words, self._draw = words, compile_noise(size, NOISE_STEPS)
        self._block, self._drawn = -1, np.empty(0)

    def at(self, step: int) -> np.ndarray:
        """(size,), float32."""
        block, row = divmod(step, NOISE_STEPS)
        if block != self._block:
            self._block, self._drawn = block, np.asarray(self._draw(self._words, block * NOISE_STEPS))
        noise: np.ndarray = self._drawn[row]
        return noise


class _CompactOutputs:
    """The outputs of a compact network for observations, by a plain call of the library.

    The library reads what it is pointed to, so the size of every array is checked before.
    """

    def __init__(self, library: ctypes.CDLL, layout: Layout, activation: Activation, pattern: np.ndarray):
        self._call = library.rl_act
        self._numbers, self._pattern = layout.numbers, pattern
        self._inputs, self._outputs, self._size = layout.widths[0], layout.widths[-1], layout.size
        numbers, which = _pointer(self._numbers, np.int64), ctypes.c_int64(number_of(activation))
        self._before = (numbers, ctypes.c_int64(len(self._numbers)), which)
        self._after = (ctypes.c_int64(layout.size), _pointer(pattern, np.int32), ctypes.c_int64(len(pattern)))
        self._make_room(1)

    def __call__(self, vector: jax.Array, observations: np.ndarray) -> np.ndarray:
        if len(observations) != len(self._given):
            self._make_room(len(observations))
        if observations.shape != self._given.shape:
            raise ValueError(f"observations have the shape ({self._inputs},), not {observations.shape[1:]}")
        if vector.shape != (self._size,) or vector.dtype != np.float32:
            raise ValueError(f"the network has {self._size} float32 parameters, not {vector.shape} of {vector.dtype}")
        self._given[:] = observations
        parameters = ctypes.c_void_p(vector.unsafe_buffer_pointer())
        if self._call(*self._before, parameters, *self._after, *self._room):
            raise AssertionError("the compact network doesn't fit its layout")
        return self._found.copy()

    def _make_room(self, number: int) -> None:
        """Allocate what calls read and write, until the number of observations changes.

        To do so for each call takes longer than the call. One thread may call at a time.
        """
        self._given = np.empty((number, self._inputs), np.float32)
        self._found = np.empty((number, self._outputs), np.float32)
        given, found = (ctypes.c_void_p(array.ctypes.data) for array in (self._given, self._found))
        self._room = given, ctypes.c_int64(number), found


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows as one array, (n, ...). A single row isn't copied: `np.stack` would take microseconds at each step."""
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


def _pointer(array: np.ndarray, dtype: Any) -> ctypes.c_void_p:
    """A pointer to the numbers of a vector. Raises ValueError if they have another dtype, or gaps between them."""
    if array.ndim != 1 or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(f"the kernels read vectors of {np.dtype(dtype)}, not {array.shape} of {array.dtype}")
    return ctypes.c_void_p(array.ctypes.data)
