"""Gives SAC the log-probability of Stable-Baselines3, which adds 1e-6 to 1 - tanh(u)^2, wherever it is imported.

A task of the form ``sb3_log_prob:HalfCheetah-v5`` imports it before it trains (`sb3_log_prob.yaml`).
"""

import jax
import jax.numpy as jnp

from rlottery.agents import sac
from rlottery.agents.networks import Tree, mlp

EPSILON = 1e-6


def _sample(actor: Tree, patterns: Tree, observations: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Actions (batch, act) and their log-probabilities (batch,), finite also where actions are at their bounds."""
    mean, log_std = jnp.split(mlp(actor, observations, pattern=patterns.get("actor")), 2, axis=-1)
    log_std = jnp.clip(log_std, sac.LOG_STD_MIN, sac.LOG_STD_MAX)
    noise = jax.random.normal(key, mean.shape)
    actions = jnp.tanh(mean + jnp.exp(log_std) * noise)
    gaussian = -0.5 * jnp.square(noise) - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    return actions, jnp.sum(gaussian - jnp.log(1.0 - jnp.square(actions) + EPSILON), axis=-1)


sac._sample = _sample
