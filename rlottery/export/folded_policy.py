"""A policy as exporters write it: checked, and folded."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlottery.activations import DEFAULT_ACTIVATION
from rlottery.export.checked_policy import checked_policy
from rlottery.export.finished_run import FinishedRun, read_actor, spaces_of
from rlottery.export.policy import Policy, layer_pairs, policy_of
from rlottery.export.returns import Returns
from rlottery.pruning.fold import Folded, Layers, fold
from rlottery.version import __version__


class ConnectedLayer(NamedTuple):
    """A layer that has inputs and outputs.

    Attributes:
        kernel, bias: (in, out) and (out,), float32.
        integers, scales: if weights are 8-bit integers: (in, out) int8, whose columns times scales (out,) are `kernel`.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    integers: NDArray[np.int8] | None = None
    scales: NDArray[np.float32] | None = None

    @property
    def outputs(self) -> int:
        """Its units."""
        return len(self.bias)

    def scaled(self, scales: NDArray[np.float32] | None) -> "ConnectedLayer":
        """The layer with the integers of its kernel, whose entries are multiples of `scales`; itself if None."""
        if scales is None:
            return self
        return self._replace(integers=np.rint(self.kernel / scales).astype(np.int8), scales=scales)


@dataclass(frozen=True, eq=False)
class FoldedPolicy:
    """A policy without dead and constant units, and where it comes from.

    Attributes:
        policy: what it computes. Its layers have only the outputs that the deterministic policy reads.
        kept: which weights of each kernel survive, (in, out); the others are zero.
        unread: the observation entries that no weight reads.
        name: of the file, without its ending. C's names begin with it.
        scales: of each unit's weights, (out,) for each layer, if the weights are int8 (`rlottery.export.int8`).
        returns: what these cost, measured.
    """

    policy: Policy
    kept: tuple[NDArray[np.bool_], ...]
    unread: tuple[int, ...]
    name: str = "policy"
    scales: tuple[NDArray[np.float32], ...] | None = None
    returns: Returns | None = None

    @property
    def weights(self) -> int:
        """How many weights survive."""
        return sum(int(kept.sum()) for kept in self.kept)

    @property
    def source(self) -> dict[str, Any]:
        """Which run the policy is of, as every file records it; of int8 weights also what they cost."""
        policy = self.policy
        cost = {} if self.returns is None else self.returns.about
        return {
            "task": policy.task,
            "seed": policy.seed,
            "arm": policy.arm,
            "sparsity": policy.sparsity,
            "rlottery": __version__,
            "agent_sha256": policy.agent_sha256,
            **cost,
        }

    @property
    def about(self) -> dict[str, Any]:
        """`source`, and how actions follow from the layers' outputs; of JSON types."""
        policy = self.policy
        action: dict[str, Any] = {"first_action": policy.first_action}
        if policy.first_action is None:
            action = {"squash": policy.squash}
        if policy.activation != DEFAULT_ACTIVATION:
            action["activation"] = policy.activation
        return {
            **self.source,
            "layers": len(policy.layers),
            "observation_size": policy.observation_size,
            "action_size": policy.action_size,
            **action,
            "unread_observations": list(self.unread),
        }

    @property
    def connected(self) -> tuple[ConnectedLayer, ...]:
        """The layers; if hidden ones have no units, a single one without weights: the constant outputs."""
        layers = [ConnectedLayer(kernel, bias) for kernel, bias in self.policy.layers]
        if all(layer.kernel.size for layer in layers):
            scales = self.scales or [None] * len(layers)
            return tuple(layer.scaled(by) for layer, by in zip(layers, scales, strict=True))
        bias = layers[-1].bias
        return (ConnectedLayer(np.zeros((self.policy.observation_size, len(bias)), np.float32), bias),)


class Folding(NamedTuple):
    """A policy before and after folding.

    Attributes:
        whole: the policy with all units.
        of_weights: weights of its network, including those for exploration.
        dead, constant: hidden units that were removed, out of `of_units`.
    """

    whole: Policy
    folded: FoldedPolicy
    of_weights: int
    dead: int
    constant: int
    of_units: int


def read_folded(run: FinishedRun, *, trust: bool) -> Folding:
    """The policy of a finished run, folded.

    Raises as `load_agent`.
    """
    actor, masks = read_actor(run)
    return _folding(policy_of(run, actor, spaces_of(run, actor, trust=trust)), actor, masks)


def fold_policy(policy: Policy) -> Folding:
    """A policy, folded. Its weights that are zero count as pruned.

    Raises:
        StudyError: as `checked_policy`.
    """
    policy = checked_policy(policy)
    layers = {f"layer_{index}": {"kernel": kernel, "bias": bias} for index, (kernel, bias) in enumerate(policy.layers)}
    masks = {name: {"kernel": layer["kernel"] != 0} for name, layer in layers.items()}
    is_pruned = not all(of["kernel"].all() for of in masks.values())
    return _folding(policy, layers, masks if is_pruned else {})


def folded_policy(whole: Policy, folded: Folded) -> FoldedPolicy:
    """A policy with the layers of its folded network."""
    kept = _kept(folded.params, folded.masks)
    unread = tuple(np.flatnonzero(~kept[0].any(axis=1)).tolist()) if folded.masks else ()
    return FoldedPolicy(replace(whole, layers=layer_pairs(folded.params)), kept, unread)


def _folding(policy: Policy, actor: Layers, masks: Layers) -> Folding:
    """The folding of a policy with the network `actor`, and its masks, or {} if there are none."""
    deciding = _deciding(actor, policy.action_size)
    folded = fold(deciding, _deciding(masks, policy.action_size) if masks else {}, policy.activation)
    whole = replace(policy, kwargs={}, layers=layer_pairs(deciding))
    return Folding(
        whole,
        folded_policy(whole, folded),
        of_weights=sum(int(kept.sum()) for kept in _kept(actor, masks)),
        dead=sum(int(units.sum()) for units in folded.dead),
        constant=sum(int(units.sum()) for units in folded.constant),
        of_units=sum(len(units) for units in folded.dead),
    )


def _deciding(layers: Layers, action_size: int) -> Layers:
    """The network, or its masks, with only the outputs that the deterministic policy reads, one per action entry."""
    last = f"layer_{len(layers) - 1}"
    return layers | {last: {leaf: array[..., :action_size] for leaf, array in layers[last].items()}}


def _kept(params: Layers, masks: Layers) -> tuple[NDArray[np.bool_], ...]:
    """Which weights of each kernel are not pruned: all, if there are no masks."""
    if masks:
        return tuple(masks[name]["kernel"] for name in params)
    return tuple(np.ones(layer["kernel"].shape, np.bool_) for layer in params.values())
