"""The algorithms that a study can train, described without JAX. Their code is in a module each, such as `sac`.

To add one, describe it here, add its settings to `rlottery.config` and its functions to `rlottery.agents`.
"""

from typing import Any, Generic, NamedTuple, TypeVar

from rlottery.agents.description import Description, Network, Rollouts, Spec
from rlottery.config import (
    Config,
    DQNSettings,
    Hyperparameters,
    NetworkSettings,
    PPOSettings,
    SACSettings,
    Task,
    TD3Settings,
)

_Hyperparameters = TypeVar("_Hyperparameters", bound=Hyperparameters)


class Setup(NamedTuple, Generic[_Hyperparameters]):
    """What an algorithm reads from the config: its hyperparameters, and the hidden widths of its networks."""

    hyperparameters: _Hyperparameters
    network: NetworkSettings

    @property
    def batch_size(self) -> int:
        """Transitions per update."""
        return self.hyperparameters.batch_size


SACSetup = Setup[SACSettings]
TD3Setup = Setup[TD3Settings]
DQNSetup = Setup[DQNSettings]


class PPOSetup(NamedTuple):
    """What PPO reads from the config, and whether actions are discrete.

    Attributes:
        environments: whose steps a rollout has in turn.
        updates: gradient updates of a whole run.
    """

    hyperparameters: PPOSettings
    network: NetworkSettings
    environments: int = 1
    updates: int = 1
    discrete: bool = False

    @property
    def batch_size(self) -> int:
        """Transitions per update."""
        return self.hyperparameters.batch_size

    @property
    def rollouts(self) -> Rollouts:
        """How data is collected and learned from."""
        return Rollouts(self.hyperparameters.rollout_steps, self.hyperparameters.epochs, self.batch_size)


def _setup(config: Config, task: Task, widths: NetworkSettings | None = None) -> Setup[Any]:
    return Setup(config.hyperparameters_for(task), widths or config.network)


def _with_twin_critics(outputs_per_action: int, **facts: Any) -> Description:
    """The description of an algorithm with an actor and twin critics, and these facts."""

    def networks(spec: Spec, settings: Setup[Any]) -> tuple[Network, ...]:
        observations, actions = spec.sizes
        actor = (observations, *settings.network.actor, outputs_per_action * actions)
        critic = (observations + actions, *settings.network.critic, 1)
        of_paths = {"actor": actor, "critic.q1": critic, "critic.q2": critic}
        return tuple(Network(path, sizes, settings.network.activation) for path, sizes in of_paths.items())

    return Description(
        settings=_setup, networks=networks, acting="actor", outputs_per_action=outputs_per_action, **facts
    )


SAC_DESCRIPTION = _with_twin_critics(
    name="sac",
    label="SAC",
    functions="rlottery.agents.sac:SAC",
    outputs_per_action=2,  # mean and logarithm of the standard deviation
    copies={"actor": 3, "critic": 4},  # weights, Adam's two moments; the critics' targets
    # An update uses each weight in these passes. Forward takes 2 operations; backward takes 2 for the weights and 2 for
    # the inputs. Actor: forward for the next actions, forward and backward in its loss. Critics: forward as targets,
    # forward and backward in their loss, forward and backward to the inputs in the actor's loss. The first layers'
    # input gradients are counted although nothing reads them: a few per cent too many.
    operations=lambda settings: {"actor": 8, "critic": 12},
    teachers=("critic.q1", "critic.q2"),
    losses={"actor": "SAC's actor loss", "critic": "soft Bellman error of both twins"},
    divergence_advice="Lower sac.critic_learning_rate and sac.actor_learning_rate, or sac.reward_scale",
)


def _td3_operations(settings: TD3Setup) -> dict[str, float]:
    """By group, counted as for SAC, per update.

    Actor: forward as a target; forward and backward in its loss. Critics: forward as targets, forward and backward in
    their loss; forward and backward to the inputs in the actor's loss, but only of the first critic, half of the group.
    """
    actor_updates = 1 / settings.hyperparameters.policy_delay
    return {"actor": 2 + 6 * actor_updates, "critic": 8 + 4 / 2 * actor_updates}


TD3_DESCRIPTION = _with_twin_critics(
    name="td3",
    label="TD3",
    functions="rlottery.agents.td3:TD3",
    outputs_per_action=1,
    copies={"actor": 4, "critic": 4},  # weights, targets, Adam's two moments
    operations=_td3_operations,
    teachers=("critic.q1",),
    losses={"actor": "minus the first critic's value", "critic": "squared Bellman error of both twins"},
    divergence_advice="Lower td3.critic_learning_rate and td3.actor_learning_rate, or td3.reward_scale",
)


def _q_network(spec: Spec, settings: DQNSetup) -> tuple[Network, ...]:
    sizes = (spec.observation_size, *settings.network.q, spec.action_size)
    return (Network("q", sizes, settings.network.activation),)


DQN_DESCRIPTION = Description(
    name="dqn",
    label="DQN",
    functions="rlottery.agents.dqn:DQN",
    settings=_setup,
    networks=_q_network,
    acting="q",
    outputs_per_action=1,
    copies={"q": 4},  # weights, target, Adam's two moments
    # Forward as the target, forward and backward in the loss; with double, forward for the next actions.
    operations=lambda settings: {"q": 10 if settings.hyperparameters.double else 8},
    losses={"q": "Huber loss of the Bellman error"},
    divergence_advice="Lower dqn.learning_rate or dqn.reward_scale",
    learns=("discrete",),
)


def _ppo_setup(config: Config, task: Task, widths: NetworkSettings | None = None) -> PPOSetup:
    hyperparameters, training = config.hyperparameters_for(task), config.training_for(task)
    assert isinstance(hyperparameters, PPOSettings)
    updates = training.updates_by(training.env_steps)
    return PPOSetup(hyperparameters, widths or config.network, training.environments, updates)


def _ppo_networks(spec: Spec, settings: PPOSetup) -> tuple[Network, ...]:
    observations, actions = spec.sizes
    actor, critic = settings.network.actor, settings.network.critic
    of_paths = {"actor": (observations, *actor, actions), "critic": (observations, *critic, 1)}
    return tuple(Network(path, sizes, settings.network.activation) for path, sizes in of_paths.items())


def _ppo_operations(settings: PPOSetup) -> dict[str, float]:
    """By group, counted as for SAC, per update: forward and backward in the loss.

    Also what prepares a rollout, shared among the epochs: forward of the actor, and of the critic before and after
    each step.
    """
    epochs = settings.hyperparameters.epochs
    return {"actor": 6 + 2 / epochs, "critic": 6 + 4 / epochs}


PPO_DESCRIPTION = Description(
    name="ppo",
    label="PPO",
    functions="rlottery.agents.ppo:PPO",
    settings=_ppo_setup,
    networks=_ppo_networks,
    acting="actor",
    outputs_per_action=1,
    copies={"actor": 3, "critic": 3},  # weights, Adam's two moments
    operations=_ppo_operations,
    losses={"actor": "PPO's clipped surrogate and entropy", "critic": "squared error of the values"},
    divergence_advice="Lower ppo.learning_rate, or set ppo.normalize_rewards: true",
    learns=("continuous", "discrete"),
    rollouts=lambda settings: settings.rollouts,
    fit=lambda settings, spec: settings._replace(discrete=spec.discrete),
    statistics="observations",
    squash="clip",
)

ALGORITHMS = {one.name: one for one in (SAC_DESCRIPTION, TD3_DESCRIPTION, DQN_DESCRIPTION, PPO_DESCRIPTION)}
"""Every algorithm by its name."""


def algorithm_of(config: Config) -> Description:
    """The algorithm that a study trains."""
    return ALGORITHMS[config.algorithm]
