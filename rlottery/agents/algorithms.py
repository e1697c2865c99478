"""The algorithms that a study can train, described without JAX. Their code is in a module each, such as `sac`.

To add one, describe it here, add its settings to `rlottery.config` and its functions to `rlottery.agents`.
"""

from typing import Generic, NamedTuple, TypeVar

from rlottery.agents.description import Description, Network, Spec
from rlottery.config import Config, NetworkSettings, SACSettings, Task

_Hyperparameters = TypeVar("_Hyperparameters", bound=SACSettings)


class Setup(NamedTuple, Generic[_Hyperparameters]):
    """What an algorithm reads from the config: its hyperparameters, and the hidden widths of its networks."""

    hyperparameters: _Hyperparameters
    network: NetworkSettings

    @property
    def batch_size(self) -> int:
        """Transitions per update."""
        return self.hyperparameters.batch_size


SACSetup = Setup[SACSettings]


def _setup(config: Config, task: Task, widths: NetworkSettings | None = None) -> Setup[SACSettings]:
    return Setup(config.hyperparameters_for(task), widths or config.network)


def _actor_and_twin_critics(spec: Spec, settings: SACSetup, outputs_per_action: int) -> tuple[Network, ...]:
    observations, actions = spec
    actor = (observations, *settings.network.actor, outputs_per_action * actions)
    critic = (observations + actions, *settings.network.critic, 1)
    return Network("actor", actor), Network("critic.q1", critic), Network("critic.q2", critic)


SAC_DESCRIPTION = Description(
    name="sac",
    label="SAC",
    functions="rlottery.agents.sac:SAC",
    settings=_setup,
    networks=lambda spec, settings: _actor_and_twin_critics(spec, settings, outputs_per_action=2),
    acting="actor",
    outputs_per_action=2,  # mean and logarithm of the standard deviation
    copies={"actor": 3, "critic": 4},  # weights, Adam's two moments; the critics' targets
    # An update uses each weight in these passes. Forward takes 2 operations; backward takes 2 for the weights and 2 for
    # the inputs. Actor: forward for the next actions, forward and backward in its loss. Critics: forward as targets,
    # forward and backward in their loss, forward and backward to the inputs in the actor's loss. The first layers'
    # input gradients are counted although nothing reads them: a few per cent too many.
    operations=lambda settings: {"actor": 8, "critic": 12},
    losses={"actor": "SAC's actor loss", "critic": "soft Bellman error of both twins"},
    divergence_advice="Lower sac.critic_learning_rate and sac.actor_learning_rate, or sac.reward_scale",
)

ALGORITHMS = {description.name: description for description in (SAC_DESCRIPTION,)}
"""Every algorithm by its name."""


def algorithm_of(config: Config) -> Description:
    """The algorithm that a study trains."""
    return ALGORITHMS[config.algorithm]
