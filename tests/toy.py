"""A toy algorithm behind the interface of `Algorithm`, cheap to compile, with every step open to the eye."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm
from rlottery.agents.description import Description, Network
from rlottery.agents.networks import Tree
from rlottery.storage.transitions import Transitions


class ToyState(NamedTuple):
    params: Tree
    masks: Tree
    updates: jax.Array
    patterns: Tree = {}  # noqa: RUF012


class ToySettings(NamedTuple):
    """`metric_nan_at`, `weight_nan_at`: the update that spoils its metric or a weight."""

    metric_nan_at: int = -1
    weight_nan_at: int = -1


def initial() -> ToyState:
    weights = jnp.array([[0.3], [0.01]], jnp.float32)
    return ToyState({"actor": _actor(weights), "critic": {}}, {}, jnp.int32(0))


def _actor(kernel: jax.Array) -> Tree:
    return {"layer_0": {"kernel": kernel, "bias": jnp.zeros(1)}}


def _kernel(actor: Tree) -> jax.Array:
    return actor["layer_0"]["kernel"]


def _update(state: ToyState, batch: Transitions, settings: ToySettings) -> tuple[ToyState, dict[str, jax.Array]]:
    """Moves the weights by what the batch holds; the metric is the number of updates before this one."""
    kernel = _kernel(state.params["actor"])
    kernel += 0.01 * jnp.mean(batch.observations * batch.actions + batch.rewards[:, None], 0)[:, None]
    kernel = jnp.where(state.updates == settings.weight_nan_at, jnp.nan, kernel)
    metric = jnp.where(state.updates == settings.metric_nan_at, jnp.inf, state.updates.astype(jnp.float32))
    params = {"actor": _actor(kernel), "critic": {}}
    return ToyState(params, state.masks, state.updates + 1), {"loss": metric, "fine": jnp.float32(4.0)}


def _losses(state: ToyState, batch: Transitions, key: jax.Array, settings: ToySettings) -> dict[str, Any]:
    """Linear ones. The actor's has the batch's mean reward as its gradient everywhere; the critic's has noise."""
    noise = jax.random.normal(key, (50, 40))
    return {
        "actor": lambda actor: jnp.mean(batch.rewards) * jnp.sum(_kernel(actor)),
        "critic": lambda critic: jnp.sum(noise * _kernel(critic["q1"])),
    }


def _layer_inputs(state: ToyState, batch: Transitions, settings: ToySettings) -> dict[str, dict[str, jax.Array]]:
    return {"actor": {"layer_0": batch.observations}, "critic": {"q1.layer_0": jnp.ones((len(batch.rewards), 50))}}


TOY = Algorithm(
    description=Description(
        name="toy",
        label="Toy",
        functions="tests.toy:TOY",
        settings=lambda config, task, widths: ToySettings(),
        networks=lambda spec, settings: (Network("actor", (2, 1)), Network("critic.q1", (50, 40))),
        acting="actor",
        outputs_per_action=1,
        copies={"actor": 1, "critic": 1},
        operations=lambda settings: {"actor": 6, "critic": 6},
        losses={"actor": "mean reward times the weights", "critic": "noise times the weights"},
        divergence_advice="Lower toy.rate",
    ),
    init_params=lambda key, spec, settings: initial().params,
    init=lambda params, key, settings: initial()._replace(params=params),
    map_weights=lambda change, state: state._replace(params={g: change(g, tree) for g, tree in state.params.items()}),
    explore=lambda outputs, noise, step, settings: np.tanh(outputs + noise),
    exploit=np.tanh,
    update=_update,
    rewind=lambda saved, key, settings: saved._replace(masks={}, updates=jnp.int32(0)),
    losses=_losses,
    layer_inputs=_layer_inputs,
)


def with_critic_kernel(state: ToyState) -> ToyState:
    """`state` with the critic that `TOY.losses` has a loss of."""
    critic: Any = {"q1": {"layer_0": {"kernel": jnp.zeros((50, 40))}}}
    return state._replace(params=state.params | {"critic": critic})
