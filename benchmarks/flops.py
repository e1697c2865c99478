"""Floating-point operations that one SAC update can't do without, counted from the layer sizes.

A multiply-add counts as two. Only products with kernels count, because the limit that they are held against
is a matrix product's. Left out are biases, activations, noise, losses, Adam and the moving targets: about 1 %
of the operations at 2 x 256 units, though a larger part of the time, since they are bound by memory.

Left out too is every gradient that nobody reads: of the critics' loss by their inputs, and of the actor's
loss by the observations. With them an update at Meta-World's shapes has 630.7 MFLOP
(`with_unread_gradients`), without them 604.1.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Shapes(NamedTuple):
    """Sizes of a SAC agent with twin critics, and of its batches."""

    observation_size: int
    action_size: int
    actor_widths: Sequence[int]
    critic_widths: Sequence[int]
    batch_size: int

    @property
    def actor(self) -> tuple[int, ...]:
        """Units of the actor, layer by layer: observation to mean and log standard deviation."""
        return (self.observation_size, *self.actor_widths, 2 * self.action_size)

    @property
    def critic(self) -> tuple[int, ...]:
        """Units of either critic: observation and action to one value."""
        return (self.observation_size + self.action_size, *self.critic_widths, 1)


METAWORLD = Shapes(
    observation_size=39, action_size=4, actor_widths=(256, 256), critic_widths=(256, 256), batch_size=256
)
"""Meta-World's tasks under the default settings."""


def update_flops(shapes: Shapes) -> dict[str, int]:
    """FLOPs of one update, by the part of it that needs them.

    - ``targets``: the actor and both target critics, forward on the next observations.
    - ``critic_loss``: both critics forward, the gradients of all their kernels, and the gradients of the
      inputs of every layer but the first.
    - ``actor_loss``: the actor as a critic above; both critics forward, and the gradients of the inputs of
      every layer, of which the first needs only the actions.
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
    """FLOPs of one update that also takes the gradients of all first layers' inputs, which nobody reads."""
    actor, critic = shapes.actor, shapes.critic
    by_observations_and_actions = 2 * critic[0] * critic[1] + actor[0] * actor[1]
    by_observations_through_critics = 2 * shapes.observation_size * critic[1]
    unread = by_observations_and_actions + by_observations_through_critics
    return sum(update_flops(shapes).values()) + 2 * shapes.batch_size * unread


def _products(sizes: Sequence[int]) -> int:
    """Multiply-adds per sample of a pass forward; the gradients of the kernels take as many."""
    return sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def _input_gradients(sizes: Sequence[int], wanted_inputs: int) -> int:
    """Multiply-adds per sample of carrying a gradient back to `wanted_inputs` of the network's inputs."""
    return wanted_inputs * sizes[1] + _products(sizes[1:])
