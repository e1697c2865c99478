"""What planning, cost estimates, masks and export need to know about an algorithm. Nothing here imports JAX.

The process that plans a study reads descriptions and never imports an algorithm's code, which needs JAX.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, Self

from rlottery.activations import DEFAULT_ACTIVATION, Activation

Shape = tuple[int, int]
"""(inputs, outputs) of a kernel."""


ActionKind = Literal["continuous", "discrete"]
"""Vectors in [-1, 1], or the choice of one entry, as one-hot vectors."""


Squash = Literal["tanh", "clip"]
"""How outputs of an acting network become continuous actions in [-1, 1]."""


class Sized(Protocol):
    """What has the sizes of a `Spec`, such as an environment."""

    @property
    def observation_size(self) -> int: ...
    @property
    def action_size(self) -> int: ...
    @property
    def discrete(self) -> bool: ...


class Spec(NamedTuple):
    """What a task gives to an agent: flat observations, and flat actions in [-1, 1] or one-hot.

    Attributes:
        action_size: entries of an action; if it is discrete, the number of actions.
    """

    observation_size: int
    action_size: int
    discrete: bool = False

    @classmethod
    def of(cls, sized: Sized) -> Self:
        """That of an environment or of a task's trial."""
        return cls(sized.observation_size, sized.action_size, sized.discrete)

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of an observation and of an action."""
        return self.observation_size, self.action_size

    @property
    def actions(self) -> ActionKind:
        """The kind of the actions."""
        return "discrete" if self.discrete else "continuous"


class Network(NamedTuple):
    """One prunable multilayer perceptron of an agent. Its first inputs are the observation.

    Attributes:
        path: where it is in the agent's parameters, such as ``actor`` or ``critic.q1``.
        sizes: inputs, hidden widths and outputs.
        activation: the activation function of its hidden layers.
    """

    path: str
    sizes: tuple[int, ...]
    activation: Activation = DEFAULT_ACTIVATION

    @property
    def group(self) -> str:
        """The group whose sparsity budget it shares: the first part of its path."""
        return self.path.partition(".")[0]

    @property
    def layers(self) -> dict[str, Shape]:
        """Path of each layer within the group -> shape of its kernel, from input to output."""
        prefix = self.path.partition(".")[2]
        shapes = enumerate(pairwise(self.sizes))
        return {f"{prefix}.layer_{index}" if prefix else f"layer_{index}": shape for index, shape in shapes}


class Rollouts(NamedTuple):
    """How an on-policy algorithm learns: a rollout is collected with a fixed policy, learned from, and not used again.

    Attributes:
        steps: environment steps in a rollout, in all environments together.
        epochs: how often an update sees each transition of a rollout.
        batch_size: transitions per update; it divides `steps`.
    """

    steps: int
    epochs: int
    batch_size: int

    @property
    def updates(self) -> int:
        """Gradient updates on each rollout."""
        return self.epochs * self.steps // self.batch_size

    @property
    def scored(self) -> int:
        """How many transitions statistics of a trained agent read: the last ones, at least a rollout."""
        return max(self.steps, 8_192)


@dataclass(frozen=True)
class Description:
    """The facts about an algorithm that are known before anything is trained.

    Attributes:
        name: also its section of the YAML file.
        label: its name in reports.
        functions: its `rlottery.agents.base.Algorithm`, as ``module:name``. The module is imported where it is needed.
        settings: (config, task, hidden widths or None for the config's) -> what the algorithm's functions take as
            `settings`: hashable, with a ``batch_size``.
        networks: (spec, settings) -> its prunable networks, group by group.
        acting: path of the network that chooses actions.
        outputs_per_action: outputs of that network for each entry of an action. The first ones, one for each entry,
            are all that the deterministic policy reads.
        copies: group -> arrays of the weights' size that a saved agent holds: weights, targets, optimiser moments.
        operations: settings -> group -> floating-point operations of an update per weight and transition, as a mean
            over updates.
        losses: group -> what its loss is, as text.
        divergence_advice: which settings to lower if training diverges.
        learns: the kinds of actions that it can learn.
        teachers: paths of the networks through whose value of its actions the acting network learns; none if its own
            loss doesn't pass through another network.
        rollouts: settings -> how it collects rollouts and learns from them; None if it learns from replay.
        fit: (settings, spec) -> settings for a task with these actions. Functions get no others.
        statistics: where a saved agent has ``mean`` and ``variance`` of observations if it normalises them.
        squash: how the acting network's outputs become actions in [-1, 1]: by tanh, or clipped. Discrete actions are
            where the largest output is.
    """

    name: str
    label: str
    functions: str
    settings: Callable[..., Any]
    networks: Callable[[Spec, Any], tuple[Network, ...]]
    acting: str
    outputs_per_action: int
    copies: Mapping[str, int]
    operations: Callable[[Any], Mapping[str, float]]
    losses: Mapping[str, str]
    divergence_advice: str
    learns: tuple[ActionKind, ...] = ("continuous",)
    teachers: tuple[str, ...] = ()
    rollouts: Callable[[Any], Rollouts | None] = lambda settings: None
    fit: Callable[[Any, Spec], Any] = lambda settings, spec: settings
    statistics: str | None = None
    squash: Squash = "tanh"

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups of networks, in the order of `networks`."""
        return tuple(self.losses)

    def acting_activation(self, spec: Spec, settings: Any) -> Activation:
        """The activation function of the network that chooses actions."""
        return next(one.activation for one in self.networks(spec, settings) if one.path == self.acting)


def kernel_shapes(networks: Iterable[Network]) -> dict[str, dict[str, Shape]]:
    """Group -> layer path -> shape of the kernel, from input to output."""
    shapes: dict[str, dict[str, Shape]] = {}
    for network in networks:
        shapes.setdefault(network.group, {}).update(network.layers)
    return shapes


def weight_count(layers: Mapping[str, Shape]) -> int:
    """Number of kernel weights in these layers."""
    return sum(inputs * outputs for inputs, outputs in layers.values())
