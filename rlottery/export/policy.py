"""A trained agent as a Python object that acts: from a finished run's folder, or from a file of `rlottery export`."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlottery.errors import StudyError, TaskError
from rlottery.export.finished_run import environment_of, read_actor, read_finished
from rlottery.export.policy_file import FORMAT_VERSION

MAX_BYTES = 2**30
"""Largest policy that is read from a file, unpacked: one of 268 million weights."""

_PLAIN = {"task": str, "seed": int, "arm": str, "layers": int, "observation_size": int, "action_size": int}

# What zipfile, NumPy and json raise for files that are none of theirs, or that ask for more memory than there is.
_NO_POLICY = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
"""Kernel (in, out) and bias (out,) of each layer, from the input on."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A deterministic policy: tanh of the actor's mean, in the task's own bounds. NumPy alone computes it.

    Attributes:
        task: a name that `rlottery.envs.make` takes; kwargs: of the environment, empty for an exported policy.
        seed, arm: of the run.
        sparsity: pruned share of the actor's weights; 0.0 of a dense agent.
        observation_size, action_size: entries.
        action_low, action_high: what -1 and 1 of the tanh stand for; (act,) float32.
        layers: the actor's; the outputs after the first `action_size` of the last one are for exploring.
    """

    task: str
    kwargs: Mapping[str, Any]
    seed: int
    arm: str
    sparsity: float
    observation_size: int
    action_size: int
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]
    layers: Layers

    def __call__(self, observations: ArrayLike) -> NDArray[np.float32]:
        """Actions in the task's bounds: (obs,) -> (act,), or (batch, obs) -> (batch, act).

        Raises:
            TaskError: observations of another shape, or no numbers.
        """
        low, high = self.action_low, self.action_high
        # As `envs.Environment.step` scales them, so that both ways give the same bits.
        scaled: NDArray[np.float32] = low + (self.squashed(observations) + np.float32(1.0)) * np.float32(0.5) * (
            high - low
        )
        return scaled

    def squashed(self, observations: ArrayLike) -> NDArray[np.float32]:
        """Actions in [-1, 1], as `rlottery.training.evaluation.evaluate` takes them; shapes and errors as of a call."""
        hidden = self._checked(observations)
        *hidden_layers, (kernel, bias) = self.layers
        for hidden_kernel, hidden_bias in hidden_layers:
            hidden = np.maximum(hidden @ hidden_kernel + hidden_bias, 0)
        actions: NDArray[np.float32] = np.tanh((hidden @ kernel + bias)[..., : self.action_size])
        return actions

    def _checked(self, observations: ArrayLike) -> NDArray[np.float32]:
        size = self.observation_size
        try:
            given = np.asarray(observations, np.float32)
        except (TypeError, ValueError) as error:
            raise TaskError(f"{self.task}: observations must be numbers ({error}).") from None
        if given.ndim not in (1, 2) or given.shape[-1] != size:
            raise TaskError(
                f"{self.task}: observations must have the shape ({size},) or (batch, {size}), not {given.shape}."
            )
        return given


def load_agent(path: str | Path) -> Policy:
    """The deterministic policy of a finished run.

    Args:
        path: the run's folder, data/runs/TASK/seed_N/ARM, or a file that `rlottery export` wrote. Of a folder, the
            agent's file and the mask are compared with their checksums, the run's other files are not looked at, and
            the task is made, to be asked for its actions' bounds.

    Raises:
        StudyError: nothing there, no finished run, damaged or foreign files.
        TaskError: the run's task can't be made here.
    """
    path = Path(path)
    return _from_file(path) if path.is_file() else _from_run(path)


def _from_run(folder: Path) -> Policy:
    run = read_finished(folder)
    actor, _ = read_actor(run)
    environment = environment_of(run, actor)
    sizes = environment.observation_size, environment.action_size
    bounds = environment.action_low, environment.action_high
    layers = tuple((layer["kernel"], layer["bias"]) for layer in actor.values())
    return Policy(run.task.id, run.task.kwargs, run.seed, run.arm, run.sparsity, *sizes, *bounds, layers)


def _from_file(path: Path) -> Policy:
    try:
        # Before anything is unpacked: a file of a stranger may be small and promise terabytes.
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        about = json.loads(arrays["about"].item())
        version = about["format_version"]
    except OSError as error:
        raise StudyError(f"{path} can't be read: {error.strerror or error}.") from None
    except _NO_POLICY:
        raise _no_policy(path, "it is no .npz with what one holds") from None
    if version != FORMAT_VERSION:
        raise StudyError(
            f"{path} has format {str(version)[:20]}; this version of rlottery reads format {FORMAT_VERSION}. "
            "Export the run again."
        )
    try:
        return _checked_policy(about, arrays)
    except _NO_POLICY:
        raise _no_policy(path, "what is in it does not fit together") from None


def _no_policy(path: Path, why: str) -> StudyError:
    return StudyError(
        f"{path} is no policy that `rlottery export` wrote, or a damaged one: {why}. Export the run again, or give its "
        "folder: data/runs/TASK/seed_N/ARM"
    )


def _checked_policy(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Policy:
    """The policy in a file's arrays. Raises ValueError, or what a lookup raises, if they don't make one."""
    if any(type(about[key]) is not kind for key, kind in _PLAIN.items()):
        raise ValueError
    inputs, layers = about["observation_size"], []
    for index in range(about["layers"]):
        bias = _floats(arrays[f"layer_{index}.bias"], 1)
        kernel = _kernel(arrays, f"layer_{index}", inputs, len(bias))
        layers.append((kernel, bias))
        inputs = len(bias)
    low, high = (np.array(about[key], np.float32) for key in ("action_low", "action_high"))
    if not layers or not inputs == about["action_size"] == len(low) == len(high):
        raise ValueError
    sizes = about["observation_size"], about["action_size"]
    return Policy(
        about["task"], {}, about["seed"], about["arm"], float(about["sparsity"]), *sizes, low, high, tuple(layers)
    )


def _kernel(arrays: Mapping[str, np.ndarray], name: str, inputs: int, outputs: int) -> NDArray[np.float32]:
    """A layer's kernel (inputs, outputs), from either of the forms that docs/export.md tells of."""
    if inputs * outputs * 4 > MAX_BYTES:
        raise ValueError
    if (kernel := arrays.get(f"{name}.kernel")) is not None:
        if kernel.shape != (inputs, outputs):
            raise ValueError
        return _floats(kernel, 2)
    values, indices, starts = (arrays[f"{name}.{part}"] for part in ("values", "indices", "starts"))
    counts: NDArray[np.int64] = starts[1:].astype(np.int64) - starts[:-1]
    if len(counts) != outputs or counts.sum() != len(values) or len(values) != len(indices):
        raise ValueError
    sparse = np.zeros((inputs, outputs), np.float32)
    sparse[indices, np.repeat(np.arange(outputs), counts)] = _floats(values, 1)
    return sparse


def _floats(array: np.ndarray, dimensions: int) -> NDArray[np.float32]:
    if array.dtype != np.float32 or array.ndim != dimensions or not np.isfinite(array).all():
        raise ValueError
    return array
