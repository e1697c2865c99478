"""Proximal policy optimisation (PPO, Schulman et al. 2017, arXiv:1707.06347) as pure functions.

An actor, whose outputs are the means of Gaussian actions or the logits of discrete ones, and a critic V. A rollout is
collected with a fixed policy, prepared (advantages, log-probabilities), and then learned from in several epochs.

Continuous actions are stored as they were drawn. Environments clip them to [-1, 1]. Their standard deviation is learned
and doesn't depend on the observation.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import log_ndtr

from rlottery.agents.adam import map_moments
from rlottery.agents.algorithms import PPO_DESCRIPTION, PPOSetup
from rlottery.agents.base import Algorithm, apply_masks
from rlottery.agents.description import Spec
from rlottery.agents.discrete import largest
from rlottery.agents.networks import Tree, init_orthogonal, mlp, mlp_layer_inputs
from rlottery.agents.normalization import LARGEST, LEAST_VARIANCE, normalized
from rlottery.storage.transitions import Transitions

ADAM_EPSILON = 1e-5
"""As in Stable-Baselines3 and in the code of the paper's authors."""


class PPOState(NamedTuple):
    """The complete state of one agent.

    Attributes:
        params: ``{"actor": mlp, "critic": mlp}``.
        log_std: (act,), logarithms of the standard deviations of continuous actions; None if actions are discrete.
        optimizer: Adam's state for actor, critic and log_std.
        updates: the number of updates so far, which decides how far learning rate and clip have fallen; int32 scalar.
        observations: running statistics of observations: count, mean and variance, (obs,); {} without normalisation.
        returns: running statistics of discounted returns, and those so far in each environment, (environments,); {}
            without normalisation.
        masks: masks of the kernels by group, or {} for a dense agent.
        patterns: sparsity patterns of compact networks, nested like `params`; otherwise {}.
    """

    params: Tree
    log_std: jax.Array | None
    optimizer: dict[str, optax.OptState]
    updates: jax.Array
    observations: dict[str, jax.Array]
    returns: dict[str, jax.Array]
    masks: Tree
    patterns: Tree


class Samples(NamedTuple):
    """A part of a prepared rollout, with a leading axis.

    Attributes:
        observations: (n, obs), as the networks see them.
        actions: (n, act).
        log_probs: (n,), of the actions, under the policy that chose them.
        advantages: (n,), by generalised advantage estimation.
        returns: (n,), what the critic learns: its value at the end of the rollout plus the advantage.
    """

    observations: Any
    actions: Any
    log_probs: Any
    advantages: Any
    returns: Any


def init_params(key: jax.Array, spec: Spec, settings: PPOSetup) -> Tree:
    """Fresh weights, ``{"actor": mlp, "critic": mlp}``: orthogonal, with gains as in Stable-Baselines3; zero biases."""
    return init_orthogonal(key, PPO_DESCRIPTION.networks(spec, settings), {"actor": 0.01, "critic": 1.0})


def init(params: Tree, key: jax.Array, settings: PPOSetup) -> PPOState:
    """A dense agent at the start of training: no statistics yet, a fresh optimiser. It needs no key."""
    ppo, adam = settings.hyperparameters, _adam(settings)
    layers, actor = len(params["actor"]), params["actor"]
    observations, actions = actor["layer_0"]["kernel"].shape[0], actor[f"layer_{layers - 1}"]["kernel"].shape[1]
    log_std = None if settings.discrete else jnp.full(actions, ppo.initial_log_std, jnp.float32)
    of_returns = _no_statistics() | {"so_far": jnp.zeros(settings.environments)}
    return PPOState(
        params=params,
        log_std=log_std,
        optimizer={name: adam.init(learned) for name, learned in _learned(params, log_std).items()},
        updates=jnp.int32(0),
        observations=_no_statistics(observations) if ppo.normalize_observations else {},
        returns=of_returns if ppo.normalize_rewards else {},
        masks={},
        patterns={},
    )


def rewind(saved: PPOState, key: jax.Array, settings: PPOSetup) -> PPOState:
    """A dense agent with the weights, standard deviations and statistics of `saved`, and a fresh optimiser.

    A schedule continues where it was. After a whole run, it restarts (Renda et al. 2020, arXiv:2003.02389).
    """
    dense = init(saved.params, key, settings)
    returns = saved.returns | {"so_far": dense.returns["so_far"]} if saved.returns else {}  # episodes restart
    updates = jnp.where(saved.updates < settings.updates, saved.updates, 0)
    return dense._replace(log_std=saved.log_std, updates=updates, observations=saved.observations, returns=returns)


def map_weights(change: Callable[[str, Any], Any], state: PPOState) -> PPOState:
    """`state` with weights and Adam's moments replaced by ``change(group, tree)``."""
    return state._replace(
        params={group: change(group, tree) for group, tree in state.params.items()},
        optimizer=map_moments(change, state.optimizer, state.params),
    )


def acting_arrays(state: PPOState) -> dict[str, Any]:
    """What acting needs in addition to the actor: standard deviations, and the statistics of observations."""
    log_std = {} if state.log_std is None else {"log_std": state.log_std}
    return log_std | {name: state.observations[name] for name in ("mean", "variance") if state.observations}


def see(observations: Any, arrays: Mapping[str, Any]) -> Any:
    """Observations as the networks see them, (..., obs); NumPy or JAX."""
    return normalized(observations, arrays["mean"], arrays["variance"]) if "mean" in arrays else observations


def complete(outputs: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The actor's outputs, for continuous actions with the logarithms of their standard deviations after the means."""
    if "log_std" not in arrays:
        return outputs
    return np.concatenate([outputs, np.broadcast_to(arrays["log_std"], outputs.shape)], axis=-1)


def explore(outputs: np.ndarray, noise: np.ndarray, step: int, settings: PPOSetup) -> np.ndarray:
    """Actions (..., act) drawn from the policy, from standard normal noise. Continuous ones may exceed [-1, 1]."""
    if settings.discrete:
        # The largest of logits plus Gumbel noise is a draw from their softmax (Gumbel 1954).
        return largest((outputs - np.log(-log_ndtr(noise))).astype(np.float32))
    mean, log_std = np.split(outputs, 2, axis=-1)
    actions: np.ndarray = mean + np.exp(log_std) * noise
    return actions


def exploit(outputs: np.ndarray) -> np.ndarray:
    """The means of continuous actions (..., act), clipped to [-1, 1]."""
    actions: np.ndarray = np.clip(outputs[..., : outputs.shape[-1] // 2], -1.0, 1.0)
    return actions


def observe(state: PPOState, rollout: Transitions, settings: PPOSetup) -> PPOState:
    """`state` with running statistics that include a rollout's observations and discounted returns."""
    if state.observations:
        state = state._replace(observations=_included(state.observations, rollout.observations))
    if not state.returns:
        return state

    def step(so_far: jax.Array, of_step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rewards, ends = of_step
        total = settings.hyperparameters.discount * so_far + rewards
        return total * (1.0 - ends), total

    of_steps = _by_environment(rollout.rewards, settings), _by_environment(rollout.ends, settings)
    so_far, totals = jax.lax.scan(step, state.returns["so_far"], of_steps)
    statistics = {name: value for name, value in state.returns.items() if name != "so_far"}
    return state._replace(returns=_included(statistics, totals.reshape(-1)) | {"so_far": so_far})


def prepare(state: PPOState, rollout: Transitions, settings: PPOSetup, collected_by: PPOState) -> jax.Array:
    """What updates learn from a rollout, as rows: `Samples`, field by field, (n, obs + act + 3).

    Args:
        rollout: transitions in order of time, those of several environments in turn.
        collected_by: the state that chose the actions. It has other statistics than `state`, if any.
    """
    before, after = (see(seen, acting_arrays(state)) for seen in (rollout.observations, rollout.next_observations))
    values, next_values = (_values(state.params["critic"], state, seen, settings) for seen in (before, after))
    rewards = rollout.rewards
    if state.returns:
        scaled = rewards / jnp.sqrt(state.returns["variance"] + LEAST_VARIANCE)
        rewards = jnp.clip(scaled, -LARGEST, LARGEST)
    parts = (rewards, values, next_values, rollout.terminations, rollout.ends)
    of_steps = [_by_environment(part, settings) for part in parts]
    advantages = estimate_advantages(settings, *of_steps).reshape(-1)
    seen = see(rollout.observations, acting_arrays(collected_by))
    outputs = _outputs(collected_by.params["actor"], state, seen, settings)
    log_probs, _ = _judged(outputs, collected_by.log_std, rollout.actions)
    columns = [column[:, None] for column in (log_probs, advantages, values + advantages)]
    return jnp.concatenate([before, rollout.actions, *columns], axis=1)


def estimate_advantages(
    settings: PPOSetup,
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminations: jax.Array,
    ends: jax.Array,
) -> jax.Array:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16); all (steps, environments).

    An episode that a time limit truncates is bootstrapped with the value of its true last observation, as is a rollout
    that ends within an episode.
    """
    ppo = settings.hyperparameters
    errors = rewards + ppo.discount * (1.0 - terminations) * next_values - values

    def step(later: jax.Array, of_step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        error, end = of_step
        advantage = error + ppo.discount * ppo.gae_lambda * (1.0 - end) * later
        return advantage, advantage

    _, advantages = jax.lax.scan(step, jnp.zeros_like(errors[0]), (errors, ends), reverse=True)
    return advantages


def batch(rows: Any, spec: Spec) -> Samples:
    """The fields of rows that `prepare` made, as views; NumPy or JAX."""
    observations, actions = spec.observation_size, spec.observation_size + spec.action_size
    return Samples(rows[:, :observations], rows[:, observations:actions], *(rows[:, actions + i] for i in range(3)))


def actor_loss(
    actor: Tree, log_std: jax.Array | None, state: PPOState, batch: Samples, settings: PPOSetup, clip: Any
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Minus the clipped surrogate objective (eq. 7) and the weighted entropy; and metrics of the policy.

    Args:
        clip: how far the ratio of probabilities may be from 1.
    """
    ppo = settings.hyperparameters
    log_probs, entropy = _judged(_outputs(actor, state, batch.observations, settings), log_std, batch.actions)
    advantages, change = batch.advantages, log_probs - batch.log_probs
    if ppo.normalize_advantages and advantages.shape[0] > 1:
        advantages = (advantages - jnp.mean(advantages)) / (jnp.std(advantages, ddof=1) + 1e-8)
    ratio = jnp.exp(change)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    surrogate = jnp.mean(jnp.minimum(ratio * advantages, clipped * advantages))
    metrics = {
        "entropy": entropy,
        "kl_divergence": jnp.mean(ratio - 1.0 - change),
        "clip_fraction": jnp.mean((jnp.abs(ratio - 1.0) > clip).astype(jnp.float32)),
    }
    return -surrogate - ppo.entropy_weight * entropy, metrics


def critic_loss(critic: Tree, state: PPOState, batch: Samples, settings: PPOSetup) -> jax.Array:
    """Mean squared error of the values."""
    return jnp.mean(jnp.square(_values(critic, state, batch.observations, settings) - batch.returns))


def update(state: PPOState, batch: Samples, settings: PPOSetup) -> tuple[PPOState, dict[str, jax.Array]]:
    """One gradient step on actor, standard deviations and critic together.

    Metrics: both losses, entropy, an estimate of the KL divergence from the rollout's policy, the share of samples
    outside the clip, and the norm of the gradient before it is limited.
    """
    ppo, adam = settings.hyperparameters, _adam(settings)
    left = _left(state, settings)

    def total(learned: dict[str, Any]) -> tuple[jax.Array, dict[str, jax.Array]]:
        of_actor, metrics = actor_loss(
            learned["actor"], learned.get("log_std"), state, batch, settings, ppo.clip * left
        )
        of_critic = critic_loss(learned["critic"], state, batch, settings)
        return of_actor + ppo.value_weight * of_critic, metrics | {"actor_loss": of_actor, "critic_loss": of_critic}

    learned = _learned(state.params, state.log_std)
    gradients, metrics = jax.grad(total, has_aux=True)(learned)
    gradients |= {group: apply_masks(gradients[group], masks) for group, masks in state.masks.items() if masks}
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradients)))
    share = jnp.minimum(1.0, ppo.max_gradient_norm / (norm + 1e-6))
    optimizer = {}
    for name, gradient in gradients.items():
        limited = jax.tree.map(lambda slope: slope * share, gradient)
        step, optimizer[name] = adam.update(limited, state.optimizer[name])
        step = jax.tree.map(lambda change: change * left, step)
        learned[name] = optax.apply_updates(learned[name], step)
    params = {group: learned[group] for group in state.params}
    updates, log_std = state.updates + 1, learned.get("log_std")
    new_state = state._replace(params=params, log_std=log_std, optimizer=optimizer, updates=updates)
    return new_state, metrics | {"gradient_norm": norm}


def losses(
    state: PPOState, batch: Samples, key: jax.Array, settings: PPOSetup
) -> dict[str, Callable[[Tree], jax.Array]]:
    """The actor's loss as a function of its weights, and the critic's loss as a function of its own.

    The clip is that of the start of training: with `linear_decay` it is 0 at the end, where no gradient is defined.
    """
    clip = settings.hyperparameters.clip
    return {
        "actor": lambda actor: actor_loss(actor, state.log_std, state, batch, settings, clip)[0],
        "critic": lambda critic: critic_loss(critic, state, batch, settings),
    }


def layer_inputs(state: PPOState, batch: Samples, settings: PPOSetup) -> dict[str, dict[str, jax.Array]]:
    """The input of each kernel, (batch, in): both networks read observations."""
    activation = settings.network.activation
    return {group: mlp_layer_inputs(tree, batch.observations, activation) for group, tree in state.params.items()}


def _outputs(actor: Tree, state: PPOState, observations: jax.Array, settings: PPOSetup) -> jax.Array:
    return mlp(actor, observations, activation=settings.network.activation, pattern=state.patterns.get("actor"))


def _values(critic: Tree, state: PPOState, observations: jax.Array, settings: PPOSetup) -> jax.Array:
    """(batch,)."""
    pattern = state.patterns.get("critic")
    return mlp(critic, observations, activation=settings.network.activation, pattern=pattern)[..., 0]


def _judged(outputs: jax.Array, log_std: jax.Array | None, actions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities of actions (batch,), and the policy's mean entropy in nats."""
    if log_std is None:
        logs = jax.nn.log_softmax(outputs)
        return jnp.sum(logs * actions, axis=-1), -jnp.mean(jnp.sum(jnp.exp(logs) * logs, axis=-1))
    normalised = (actions - outputs) / jnp.exp(log_std)
    log_probs = -0.5 * jnp.square(normalised) - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    return jnp.sum(log_probs, axis=-1), jnp.sum(log_std + 0.5 * jnp.log(2.0 * jnp.pi * jnp.e))


def _by_environment(of_steps: jax.Array, settings: PPOSetup) -> jax.Array:
    """A rollout's (n,) as (steps, environments)."""
    return of_steps.reshape(-1, settings.environments)


def _no_statistics(*shape: int) -> dict[str, jax.Array]:
    """Running statistics before anything was seen: mean 0 and variance 1, which soon count for nothing."""
    return {"count": jnp.float32(1e-4), "mean": jnp.zeros(shape), "variance": jnp.ones(shape)}


def _included(statistics: dict[str, jax.Array], seen: jax.Array) -> dict[str, jax.Array]:
    """Running statistics that include what is seen, (n, ...) (Chan et al. 1979)."""
    count, number = statistics["count"], jnp.float32(seen.shape[0])
    total, apart = count + number, jnp.mean(seen, axis=0) - statistics["mean"]
    squares = statistics["variance"] * count + jnp.var(seen, axis=0) * number + apart**2 * count * number / total
    return {"count": total, "mean": statistics["mean"] + apart * number / total, "variance": squares / total}


def _learned(params: Tree, log_std: jax.Array | None) -> dict[str, Any]:
    """Everything that gradients change."""
    return params | ({} if log_std is None else {"log_std": log_std})


def _left(state: PPOState, settings: PPOSetup) -> Any:
    """The share of learning rate and clip that is left: from 1 to 0 with `linear_decay`."""
    if not settings.hyperparameters.linear_decay:
        return 1.0
    of_rollout = settings.rollouts.updates
    return jnp.maximum(1.0 - state.updates // of_rollout * of_rollout / settings.updates, 0.0)


def _adam(settings: PPOSetup) -> optax.GradientTransformation:
    return optax.adam(settings.hyperparameters.learning_rate, eps=ADAM_EPSILON)


PPO = Algorithm(
    PPO_DESCRIPTION,
    init_params,
    init,
    rewind,
    map_weights,
    explore,
    update,
    losses,
    layer_inputs,
    exploit=exploit,
    acting_arrays=acting_arrays,
    see=see,
    complete=complete,
    observe=observe,
    prepare=prepare,
    batch=batch,
)
