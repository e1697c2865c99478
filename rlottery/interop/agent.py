"""An agent of another tool, in the terms of this one: its networks, what else it learned, and its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlottery.activations import ACTIVATIONS, DEFAULT_ACTIVATION, Activation
from rlottery.errors import ForeignFileError

Layer = str | tuple[str, ...]
"""The name of a linear layer in a file, without ``.weight``; or of several, whose outputs are one after the other."""
Layers = Mapping[str, Sequence[Layer]]
"""Where a network is in a saved agent, such as ``params.critic.q1`` -> its layers from input to output."""


@dataclass(frozen=True)
class ForeignAgent:
    """What was read of an agent.

    Attributes:
        algorithm: its name in a config: sac, td3, dqn or ppo.
        library: what trained it, for people: "Stable-Baselines3 2.9.2".
        arrays: parts of a saved agent by their names in `agent.safetensors`: all of its weights, and what else was
            found. A fresh agent's stand for the others.
        observation_size, action_size: entries of an observation, and of an action or the number of discrete ones.
        discrete: whether actions are discrete; None if the file doesn't say.
        action_low, action_high: bounds of continuous actions; None if the file doesn't say.
        settings: its settings as sections of a config: ``{"sac": {"discount": 0.99}, "training": {...}}``.
        env_steps: how long it was trained; None if the file doesn't say.
        seed: what it was trained with; None if the file doesn't say.
        notes: what a person has to know about it, one sentence each.
        activation: the activation function of its hidden layers.
        in_task_units: whether its actions are in the task's own units, and the file doesn't say their bounds.
    """

    algorithm: str
    library: str
    arrays: Mapping[str, np.ndarray]
    observation_size: int
    action_size: int
    discrete: bool | None = None
    action_low: np.ndarray | None = None
    action_high: np.ndarray | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    env_steps: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()
    activation: Activation = DEFAULT_ACTIVATION
    in_task_units: bool = False

    @property
    def network(self) -> dict[str, Any]:
        """The section `network` of a config: hidden widths by group, and the activation function if it isn't ReLU."""
        other = {"activation": self.activation} if self.activation != DEFAULT_ACTIVATION else {}
        return {**self.hidden, **other}

    @property
    def hidden(self) -> dict[str, list[int]]:
        """Group of networks -> the widths of its hidden layers. Raises ForeignFileError if networks of one differ."""
        found: dict[str, list[int]] = {}
        for network, shapes in self.networks.items():
            widths = [outputs for _, outputs in shapes[:-1]]
            group = network.partition(".")[0]
            if found.setdefault(group, widths) != widths:
                raise ForeignFileError(f"its networks of the {group} have different hidden layers, and must have equal")
        return found

    @property
    def networks(self) -> dict[str, list[tuple[int, int]]]:
        """Path of each network, such as ``critic.q1`` -> (inputs, outputs) of its layers."""
        found: dict[str, list[tuple[int, int]]] = {}
        for name, array in self.arrays.items():
            if name.startswith("params.") and name.endswith(".kernel"):
                network = name.removeprefix("params.").rpartition(".layer_")[0]
                found.setdefault(network, []).append((array.shape[0], array.shape[1]))
        return found


def activation_called(name: str, how: str) -> Activation:
    """The activation function that another library calls so.

    Args:
        how: the setting that chooses one that there is.

    Raises ForeignFileError if agents here don't have it.
    """
    if (known := name.lower()) in ACTIVATIONS:
        return next(activation for activation in ACTIVATIONS if activation == known)
    raise ForeignFileError(
        f"its hidden layers have {name[:50]}, and those of agents here have relu or tanh. Train it with one of "
        f"these: {how}"
    )


@dataclass(frozen=True)
class Naming:
    """How a library names the tensors of a linear layer, and the order of their axes.

    Attributes:
        weight, bias: what comes after the name of the layer.
        out_first: whether a weight has the shape (out, in).
    """

    weight: str = ".weight"
    bias: str = ".bias"
    out_first: bool = True


FLAX = Naming(".kernel", ".bias", out_first=False)


class Weights:
    """The tensors of a file by name. It keeps in mind which of them were used.

    Args:
        ignored: tensors that hold nothing that was learned.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], ignored: Sequence[str] = ()):
        self._tensors, self._unused = tensors, dict.fromkeys(name for name in tensors if name not in ignored)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self, prefix: str) -> list[str]:
        """The names that begin so, in the order of the file."""
        return [name for name in self._tensors if name.startswith(prefix)]

    def take(self, name: str) -> np.ndarray:
        """A tensor, as float32. Raises ForeignFileError if it is missing, or not finite."""
        if name not in self._tensors:
            raise ForeignFileError(f"it lacks {name[:100]!r}")
        self._unused.pop(name, None)
        tensor = np.asarray(self._tensors[name])
        if tensor.dtype.kind not in "fiu" or not np.isfinite(tensor).all():
            raise ForeignFileError(f"{name[:100]!r} has entries that are not finite numbers")
        return tensor.astype(np.float32)

    def sequence(self, prefix: str) -> list[Layer]:
        """The linear layers of a `torch.nn.Sequential`, whose names are numbers after the prefix, in their order."""
        numbers = {name.removeprefix(prefix).partition(".")[0] for name in self.names(prefix)}
        return [f"{prefix}{number}" for number in sorted((n for n in numbers if n.isdecimal()), key=int)]

    def check_all_used(self, what: str) -> None:
        """Raise ForeignFileError if a tensor belongs to nothing that the agent here has."""
        for name in self._unused:
            raise ForeignFileError(f"it has {name[:100]!r}, which {what} has no place for")


def network_arrays(weights: Weights, layers: Layers, naming: Naming = Naming()) -> dict[str, np.ndarray]:
    """The arrays of networks by their names in a saved agent. PyTorch's weights (out, in) become kernels (in, out).

    Raises ForeignFileError if a tensor is missing, or has a shape that doesn't fit the layer before it.
    """
    arrays: dict[str, np.ndarray] = {}
    for place, of_network in layers.items():
        if not of_network:
            raise ForeignFileError(f"it has no layers of {place}")
        before: int | None = None
        for index, layer in enumerate(of_network):
            kernel, bias = _linear(weights, (layer,) if isinstance(layer, str) else layer, naming)
            if before not in (None, kernel.shape[0]):
                raise ForeignFileError(
                    f"{layer!r} reads {kernel.shape[0]} inputs, but the layer before it has {before} outputs"
                )
            before = kernel.shape[1]
            arrays |= {f"{place}.layer_{index}.kernel": kernel, f"{place}.layer_{index}.bias": bias}
    return arrays


def _linear(weights: Weights, names: Sequence[str], naming: Naming) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (in, out) and bias (out,) of linear layers next to each other."""
    kernels, biases = [], []
    for name in names:
        weight, bias_name = f"{name}{naming.weight}", f"{name}{naming.bias}"
        kernel = weights.take(weight)
        if kernel.ndim != 2 or 0 in kernel.shape:
            raise ForeignFileError(f"{weight!r} has the shape {kernel.shape}, and a layer's weights are a matrix")
        kernel = kernel.T if naming.out_first else kernel
        outputs = kernel.shape[1]
        # A layer without a bias acts as one with zeros.
        bias = weights.take(bias_name) if bias_name in weights else np.zeros(outputs, np.float32)
        if bias.shape != (outputs,):
            raise ForeignFileError(f"{bias_name!r} has the shape {bias.shape}, and its layer {outputs} outputs")
        kernels.append(kernel)
        biases.append(bias)
    if len({kernel.shape[0] for kernel in kernels}) > 1:
        raise ForeignFileError(f"{' and '.join(names)} read different numbers of inputs")
    return np.ascontiguousarray(np.concatenate(kernels, axis=1)), np.concatenate(biases)


def agent_of_arrays(
    algorithm: str, library: str, arrays: Mapping[str, np.ndarray], notes: tuple[str, ...] = (), **more: Any
) -> ForeignAgent:
    """The agent with these arrays, and more of what is known of it. Its sizes are those of its networks.

    Raises ForeignFileError if its networks don't fit each other.
    """
    acting = "q" if algorithm == "dqn" else "actor"
    layers = [array for name, array in arrays.items() if name.startswith(f"params.{acting}.") and array.ndim == 2]
    observations, outputs = layers[0].shape[0], layers[-1].shape[1]
    actions = outputs // 2 if algorithm == "sac" else outputs
    sizes = {"actor": (observations, outputs), "q": (observations, outputs), "critic": (observations, 1)}
    sizes |= {f"critic.q{number}": (observations + actions, 1) for number in (1, 2)}
    agent = ForeignAgent(
        algorithm,
        library,
        arrays,
        observations,
        actions,
        discrete={"dqn": True, "ppo": "log_std" not in arrays}.get(algorithm, False),
        notes=notes,
        **more,
    )
    for network, shapes in agent.networks.items():
        if (shapes[0][0], shapes[-1][1]) != sizes[network]:
            raise ForeignFileError(
                f"its network {network} has {shapes[0][0]} inputs and {shapes[-1][1]} outputs; with this actor it must "
                f"have {sizes[network][0]} and {sizes[network][1]}"
            )
    if algorithm == "sac" and outputs % 2:
        raise ForeignFileError(
            f"its actor has {outputs} outputs; one of SAC has a mean and a standard deviation for each action"
        )
    return agent


def to_unit_actions(arrays: dict[str, np.ndarray], spaces: Mapping[str, Any]) -> bool:
    """Let the actor's outputs be actions in [-1, 1], where they were in the units of the task.

    Returns whether nothing had to change.
    """
    low, high = spaces["action_low"].astype(np.float64), spaces["action_high"].astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ForeignFileError("its actions have no finite bounds, or bounds that are equal")
    if (low == -1).all() and (high == 1).all():
        return True
    last = max((name for name in arrays if name.startswith("params.actor.")), key=_layer_number).rpartition(".")[0]
    scale = 2 / (high - low)
    arrays[f"{last}.kernel"] = (arrays[f"{last}.kernel"] * scale).astype(np.float32)
    arrays[f"{last}.bias"] = ((arrays[f"{last}.bias"] - low) * scale - 1).astype(np.float32)
    arrays["log_std"] = (arrays["log_std"] + np.log(scale)).astype(np.float32)
    return False


def _layer_number(name: str) -> int:
    return int(name.rpartition("layer_")[2].partition(".")[0])
