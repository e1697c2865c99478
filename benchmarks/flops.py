"""The floating-point operations that one SAC update needs, counted from the layer sizes.

A multiply-add counts as two operations. Only products with kernels count, because they are compared with the rate of a
matrix product. Biases, activations, noise, losses, Adam and the moving targets are not counted: they are about 1 % of
the operations at 2 x 256 units, but more of the time, since they are limited by memory bandwidth.

Gradients that are not used don't count either: those of the critics' loss with respect to their inputs, and of the
actor's loss with respect to the observations. An update at Meta-World's sizes has 604.1 MFLOP without them and 630.7
with them (`with_unread_gradients`).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rlottery.agents.algorithms import SAC_DESCRIPTION, SACSetup
from rlottery.agents.description import Network, Spec
from rlottery.config import NetworkSettings, SACSettings


class Shapes(NamedTuple):
    """Sizes of a SAC agent with twin critics, and of its batches."""

    observation_size: int
    action_size: int
    actor_widths: Sequence[int]
    critic_widths: Sequence[int]
    batch_size: int

    @property
    def actor(self) -> tuple[int, ...]:
        """Sizes of the actor, from the observation to mean and log standard deviation."""
        return self._networks[0].sizes

    @property
    def critic(self) -> tuple[int, ...]:
        """Sizes of each critic, from observation and action to one value."""
        return self._networks[1].sizes

    @property
    def _networks(self) -> tuple[Network, ...]:
        widths = NetworkSettings(actor=tuple(self.actor_widths), critic=tuple(self.critic_widths))
        setup = SACSetup(SACSettings(), widths)
        return SAC_DESCRIPTION.networks(Spec(self.observation_size, self.action_size), setup)


METAWORLD = Shapes(
    observation_size=39, action_size=4, actor_widths=(256, 256), critic_widths=(256, 256), batch_size=256
)
"""Meta-World's tasks with the default settings."""


def update_flops(shapes: Shapes) -> dict[str, int]:
    """FLOPs of one update, by part.

    - ``targets``: forward passes of the actor and both target critics on the next observations.
    - ``critic_loss``: forward passes of both critics, the gradients of all their kernels, and the gradients of the
      inputs of every layer except the first.
    - ``actor_loss``: for the actor the same as for a critic above; forward passes of both critics, and the gradients of
      the inputs of every layer, in the first layer only of the actions.
    """
    actor, critic = shapes.actor, shapes.critic
    targets = _products(actor) + 2 * _products(critic)
    critic_loss = 2 * (_products(critic) + _products(critic) + _input_gradients(critic, wanted_inputs=0))
    actor_loss = (
        _products(actor)
        + _products(actor)
        + _input_gradients(actor, wanted_inputs=0)
        + 2 * (_products(critic) + _input_gradients(critic, wanted_inputs=shapes.action_size))
    )
    parts = {"targets": targets, "critic_loss": critic_loss, "actor_loss": actor_loss}
    return {name: 2 * shapes.batch_size * multiply_adds for name, multiply_adds in parts.items()}


def with_unread_gradients(shapes: Shapes) -> int:
    """FLOPs of one update that also computes the unused gradients of the first layers' inputs."""
    actor, critic = shapes.actor, shapes.critic
    by_observations_and_actions = 2 * critic[0] * critic[1] + actor[0] * actor[1]
    by_observations_through_critics = 2 * shapes.observation_size * critic[1]
    unread = by_observations_and_actions + by_observations_through_critics
    return sum(update_flops(shapes).values()) + 2 * shapes.batch_size * unread


def _products(sizes: Sequence[int]) -> int:
    """Multiply-adds per sample of a forward pass. The gradients of the kernels need as many."""
    return sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def _input_gradients(sizes: Sequence[int], wanted_inputs: int) -> int:
    """Multiply-adds per sample to propagate a gradient back to `wanted_inputs` of the network's inputs."""
    return wanted_inputs * sizes[1] + _products(sizes[1:])
