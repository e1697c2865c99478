"""Saves networks in Flax as CleanRL's scripts in JAX do, and the actions that they take.

    python cleanrl_jax_agents.py FOLDER

The classes are those of dqn_jax.py and td3_continuous_action_jax.py, with their widths. Each FOLDER/NAME.cleanrl_model
is what such a script saves, and NAME.npz has random observations (1000, obs) and the actions, or the values that
discrete ones are chosen by.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

SCALE, MIDDLE = 2.0, 0.0  # of Pendulum-v1


class Values(nn.Module):
    """dqn_jax.py: QNetwork."""

    action_dim: int

    @nn.compact
    def __call__(self, x: jnp.ndarray):
        x = nn.Dense(120)(x)
        x = nn.relu(x)
        x = nn.Dense(84)(x)
        x = nn.relu(x)
        x = nn.Dense(self.action_dim)(x)
        return x


class Distributions(nn.Module):
    """c51_jax.py: QNetwork, without its softmax."""

    action_dim: int
    n_atoms: int

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(120)(x)
        x = nn.relu(x)
        x = nn.Dense(84)(x)
        x = nn.relu(x)
        return nn.Dense(self.action_dim * self.n_atoms)(x)


class Critic(nn.Module):
    """td3_continuous_action_jax.py: QNetwork."""

    @nn.compact
    def __call__(self, x: jnp.ndarray, a: jnp.ndarray):
        x = jnp.concatenate([x, a], -1)
        x = nn.Dense(256)(x)
        x = nn.relu(x)
        x = nn.Dense(256)(x)
        x = nn.relu(x)
        x = nn.Dense(1)(x)
        return x


class Actor(nn.Module):
    """td3_continuous_action_jax.py."""

    action_dim: int
    action_scale: Sequence[int]
    action_bias: Sequence[int]

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(256)(x)
        x = nn.relu(x)
        x = nn.Dense(256)(x)
        x = nn.relu(x)
        x = nn.Dense(self.action_dim)(x)
        x = nn.tanh(x)
        x = x * self.action_scale + self.action_bias
        return x


class Images(nn.Module):
    """The beginning of ppo_atari_envpool_xla_jax.py: Network."""

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(32, kernel_size=(8, 8), strides=(4, 4), padding="VALID")(x))


def main(folder: Path) -> None:
    keys = iter(jax.random.split(jax.random.PRNGKey(1), 9))
    random = np.random.default_rng(0)

    def biased(params):
        """Biases that aren't zero, as after training."""
        return jax.tree.map(lambda of: of + 0.1 * random.normal(size=of.shape).astype(of.dtype), params)

    def save(name: str, target: object) -> None:
        (folder / f"{name}.cleanrl_model").write_bytes(flax.serialization.to_bytes(target))

    def acts(name: str, module: nn.Module, params: object, size: int) -> None:
        observations = random.normal(size=(1_000, size)).astype(np.float32)
        actions = np.asarray(module.apply(params, observations))
        np.savez(folder / f"{name}.npz", observations=observations, actions=actions)

    observation, action = jnp.zeros((1, 3)), jnp.zeros((1, 1))
    values = Values(action_dim=2)
    params = biased(values.init(next(keys), jnp.zeros((1, 4))))
    save("dqn", params)
    acts("dqn", values, params, 4)
    actor = Actor(action_dim=1, action_scale=jnp.array([SCALE]), action_bias=jnp.array([MIDDLE]))
    actor_params = biased(actor.init(next(keys), observation))
    critics = [biased(Critic().init(next(keys), observation, action)) for _ in range(2)]
    save("td3", [actor_params, *critics])
    acts("td3", actor, actor_params, 3)
    save("ddpg", [actor_params, critics[0]])
    args = {"exp_name": "c51_jax", "seed": 1, "n_atoms": 101, "v_min": -100.0, "track": False, "wandb_entity": None}
    distributions = Distributions(action_dim=2, n_atoms=101).init(next(keys), jnp.zeros((1, 4)))
    save("c51", {"model_weights": distributions, "args": args})
    images = Images().init(next(keys), jnp.zeros((1, 84, 84, 4)))
    save("ppo", [args, [images, actor_params, critics[0]]])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
