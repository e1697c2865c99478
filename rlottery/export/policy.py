"""A trained agent as a Python object, from the folder of a finished run or from a file of `rlottery export`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlottery.activations import ACTIVATIONS, DEFAULT_ACTIVATION, Activation, activated
from rlottery.agents.description import Squash
from rlottery.agents.discrete import largest
from rlottery.agents.normalization import normalized
from rlottery.errors import StudyError, TaskError
from rlottery.export.finished_run import FinishedRun, Spaces, read_actor, read_finished, read_statistics, spaces_of
from rlottery.pruning.fold import Layers
from rlottery.safety.npz import read_npz
from rlottery.safety.regular_files import regular
from rlottery.safety.zip_files import MOST_DIRECTORY_BYTES

POLICY_FORMAT = 3
"""Of the .npz files of policies (`rlottery.export.npz`). Raised by hand when their content changes."""
MAX_POLICY_BYTES = 2**30
"""Largest policy that is read from a file, uncompressed: 268 million weights."""

_PLAIN = {"task": str, "seed": int, "arm": str, "layers": int, "observation_size": int, "action_size": int}

PolicyLayers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
"""Kernel (in, out) and bias (out,) of each layer, from input to output."""


def layer_pairs(network: Layers) -> PolicyLayers:
    """The layers of a network as pairs."""
    return tuple((layer["kernel"], layer["bias"]) for layer in network.values())


def mlp_outputs(layers: PolicyLayers, inputs: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """Hidden layers with this activation function and a linear output: (..., in) -> (..., out)."""
    *hidden_layers, (kernel, bias) = layers
    hidden = inputs
    for hidden_kernel, hidden_bias in hidden_layers:
        hidden = activated(activation, hidden @ hidden_kernel + hidden_bias)
    return hidden @ kernel + bias


def squashed(how: Squash, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions in [-1, 1] for outputs (..., act) of an actor."""
    actions: NDArray[np.float32] = np.tanh(outputs) if how == "tanh" else np.clip(outputs, -1.0, 1.0)
    return actions


def in_bounds(actions: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions in [-1, 1], (..., act), in a task's units: from `low` to `high`, (act,)."""
    # The same operations as in `rlottery.envs.spaces`, to get the same bits.
    scaled = low + (actions + np.float32(1.0)) * np.float32(0.5) * (high - low)
    limited: NDArray[np.float32] = np.minimum(np.maximum(scaled, low), high)
    return limited


@dataclass(frozen=True, eq=False)
class Policy:
    """A deterministic policy in NumPy: the actor's outputs, squashed to [-1, 1] and scaled to the task's action bounds.

    Or, if actions are discrete, the number of the largest output, counted from the task's first action.

    Call it with observations to get actions. `rlottery.load_agent` makes one.

    Attributes:
        task: the task's name, for `rlottery.envs.make`.
        kwargs: keyword arguments of the environment; empty for an exported policy.
        seed, arm: the seed and the arm of the run.
        sparsity: pruned share of the actor's weights; 0.0 for a dense agent.
        observation_size, action_size: entries of an observation and of an action.
        action_low, action_high: the actions that -1 and 1 are scaled to; (act,) float32. Empty if actions are discrete.
        layers: kernel (in, out) and bias (out,) of each layer of the actor. Outputs of the last layer after the first
            `action_size` are used only for exploration.
        squash: how outputs become actions in [-1, 1]: by tanh, or clipped.
        statistics: mean and variance that observations are normalised with, (obs,) float32; None if they are not.
        first_action: the smallest of the integers that are discrete actions; None if actions are continuous.
        activation: the activation function of the hidden layers.
        agent_sha256: checksum of the file of the run's agent, in hexadecimal; "" in files of earlier versions.
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
    layers: PolicyLayers
    squash: Squash = "tanh"
    statistics: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    first_action: int | None = None
    activation: Activation = DEFAULT_ACTIVATION
    agent_sha256: str = ""

    def __repr__(self) -> str:
        sparse = f"sparsity={self.sparsity:.3g}, " if self.sparsity else ""
        sizes = f"observation_size={self.observation_size}, action_size={self.action_size}"
        return f"Policy(task={self.task!r}, arm={self.arm!r}, seed={self.seed}, {sparse}{sizes})"

    def __call__(self, observations: ArrayLike) -> NDArray[Any]:
        """Actions within the task's bounds: (obs,) -> (act,), or (batch, obs) -> (batch, act), float32.

        Discrete ones are the task's integers: (obs,) -> one, or (batch, obs) -> (batch,), int64.

        Raises:
            TaskError: the observations have another shape, or aren't numbers.
        """
        if self.first_action is not None:
            chosen: NDArray[np.int64] = self.first_action + np.argmax(self.squashed(observations), axis=-1)
            return chosen
        return in_bounds(self.squashed(observations), self.action_low, self.action_high)

    def squashed(self, observations: ArrayLike) -> NDArray[np.float32]:
        """Actions in [-1, 1], or one-hot, which `rlottery.envs.Environment.step` takes, (..., act).

        Errors as for a call.
        """
        seen = self._checked(observations)
        if self.statistics is not None:
            seen = normalized(seen, *self.statistics)
        outputs = mlp_outputs(self.layers, seen, self.activation)[..., : self.action_size]
        return squashed(self.squash, outputs) if self.first_action is None else largest(outputs)

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


def load_agent(path: str | Path, *, trust: bool = False) -> Policy:
    """The deterministic policy of a finished run. No code of the study runs, except as `trust` says.

    Args:
        path: the run's folder, data/runs/TASK/seed_N/ARM, or an .npz that `rlottery export` wrote. For a folder, the
            files of the agent and the mask are verified against their checksums, and other files of the run are not
            read.
        trust: runs of versions that didn't record the bounds of actions need their task's environment, which may be
            code that the study names. It is made if your own commands have run this study, or if you trust it.

    Returns:
        The policy: a callable that needs only NumPy.

    Raises:
        StudyError: nothing is at that path, the run is not finished, files are damaged or in another format, or an
            environment is needed and the study isn't trusted.
        TaskError: the task of the run can't be made on this machine.
    """
    path = Path(path)
    return _from_file(path) if path.is_file() else _from_run(path, trust)


def _from_run(folder: Path, trust: bool) -> Policy:
    run = read_finished(folder)
    actor, _ = read_actor(run)
    return policy_of(run, actor, spaces_of(run, actor, trust=trust))


def policy_of(run: FinishedRun, layers: Layers, spaces: Spaces) -> Policy:
    """The policy of a run whose acting network has these layers."""
    return Policy(
        task=run.task.id,
        kwargs=run.task.kwargs,
        seed=run.seed,
        arm=run.arm,
        sparsity=run.sparsity,
        **spaces._asdict(),
        layers=layer_pairs(layers),
        squash=run.algorithm.squash,
        statistics=read_statistics(run),
        activation=run.activation,
        agent_sha256=run.digest,
    )


def _from_file(path: Path) -> Policy:
    try:
        with open(path, "rb", opener=regular) as file:
            return read_policy(file, path)
    except OSError as error:
        raise StudyError(f"{path} can't be read: {error.strerror or error}.") from None


def read_policy(file: BinaryIO, path: Path) -> Policy:
    """The policy in an .npz file of `rlottery export`.

    Args:
        path: names the file in messages.

    Raises:
        StudyError: it is another file, or damaged.
        OSError: it can't be read.
    """
    try:
        # Not `read(most)`, which takes that much memory at once.
        if file.seek(0, os.SEEK_END) > MAX_POLICY_BYTES + MOST_DIRECTORY_BYTES:
            raise ValueError(f"it has more than {MAX_POLICY_BYTES:,} bytes")
        file.seek(0)
        arrays = read_npz(file.read(), MAX_POLICY_BYTES)
        about = json.loads(arrays["about"].item())
        version = about["format_version"]
    except OSError:
        raise
    except Exception:  # NumPy and json raise anything for other formats, and for more than the memory holds
        raise _not_a_policy(path, "it is not an .npz file with the content of one") from None
    if version not in range(1, POLICY_FORMAT + 1):
        raise StudyError(
            f"{path} has format {str(version)[:20]}, but this version of rlottery reads formats 1 to {POLICY_FORMAT}. "
            "Export the run again."
        )
    try:
        return _checked_policy(about, arrays)
    except Exception:  # as above
        raise _not_a_policy(path, "its arrays don't fit together") from None


def _not_a_policy(path: Path, why: str) -> StudyError:
    return StudyError(
        f"{path} is not a policy from `rlottery export`, or it is damaged: {why}. Export the run again, or give its "
        "folder: data/runs/TASK/seed_N/ARM"
    )


def _checked_policy(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Policy:
    """The policy in the arrays of a file. Raises anything if they don't make one."""
    if any(type(about[key]) is not kind for key, kind in _PLAIN.items()):
        raise ValueError
    inputs, layers = about["observation_size"], []
    for index in range(about["layers"]):
        bias = _floats(arrays[f"layer_{index}.bias"], 1)
        kernel = _kernel(arrays, f"layer_{index}", inputs, len(bias))
        layers.append((kernel, bias))
        inputs = len(bias)
    low, high = (np.array(about[key], np.float32) for key in ("action_low", "action_high"))
    first, squash = about.get("first_action"), about.get("squash", "tanh")
    activation = about.get("activation", DEFAULT_ACTIVATION)
    bounds = inputs if first is None else 0
    if not layers or inputs != about["action_size"] or not bounds == len(low) == len(high):
        raise ValueError
    if activation not in ACTIVATIONS or squash not in get_args(Squash) or type(first) not in (int, type(None)):
        raise ValueError
    return Policy(
        task=about["task"],
        kwargs={},
        seed=about["seed"],
        arm=about["arm"],
        sparsity=float(about["sparsity"]),
        observation_size=about["observation_size"],
        action_size=about["action_size"],
        action_low=low,
        action_high=high,
        layers=tuple(layers),
        squash=squash,
        statistics=_statistics(arrays, about["observation_size"]),
        first_action=first,
        activation=activation,
        agent_sha256=str(about.get("agent_sha256", "")),
    )


def _statistics(arrays: Mapping[str, np.ndarray], size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    names = ("observations.mean", "observations.variance")
    if not any(name in arrays for name in names):
        return None
    mean, variance = (_floats(arrays[name], 1) for name in names)
    if not len(mean) == len(variance) == size or (variance < 0).any():
        raise ValueError
    return mean, variance


def _kernel(arrays: Mapping[str, np.ndarray], name: str, inputs: int, outputs: int) -> NDArray[np.float32]:
    """A layer's kernel (inputs, outputs), from either form that docs/export-formats.md describes."""
    if inputs * outputs * 4 > MAX_POLICY_BYTES:
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
