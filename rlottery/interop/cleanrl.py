"""Reads what CleanRL's scripts save (``--save-model``): an agent is known by the names of its layers.

Scripts in PyTorch save state_dicts, those in JAX the weights of Flax's modules
(https://docs.cleanrl.dev/advanced/resume-training/).
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import FLAX, ForeignAgent, Layer, Layers, Weights, agent_of_arrays, network_arrays
from rlottery.interop.sb3 import LOG_PROB_EPSILON
from rlottery.interop.sb3_archive import ONLY

_OWN_NAMES = ("action_scale", "action_bias")
"""What CleanRL's actors hold besides what they have learned."""
_LIBRARY = "CleanRL"


def read_cleanrl(tensors: Mapping[str, np.ndarray]) -> ForeignAgent:
    """An agent of one of CleanRL's scripts. Raises ForeignFileError if it can't be told which, or trained here."""
    if any(name.endswith(".kernel") for name in tensors):
        return _of_jax(tensors)
    names = {name.removesuffix(".weight") for name in tensors if name.endswith(".weight")}
    weights = Weights(tensors, [name for name in tensors if name.rpartition(".")[2] in _OWN_NAMES])
    three = {f"{part}.{layer}" for part in "12" for layer in ("fc1", "fc2", "fc3")}
    if names == three | {"0.fc1", "0.fc2", "0.fc_mu"}:
        return _actor_critic(weights, tensors, "td3", "0.fc_mu")
    if names == three | {"0.fc1", "0.fc2", "0.fc_mean", "0.fc_logstd"}:
        return _actor_critic(weights, tensors, "sac", ("0.fc_mean", "0.fc_logstd"))
    if names == {"network.0", "network.2", "network.4"}:
        arrays = network_arrays(weights, {"params.q": weights.sequence("network.")})
        return _checked(agent_of_arrays("dqn", _LIBRARY, arrays), weights)
    for actor in ("actor", "actor_mean"):
        if names == {f"{network}.{layer}" for network in (actor, "critic") for layer in (0, 2, 4)}:
            return _ppo(weights, actor)
    raise _unknown(names or tensors.keys())


def _ppo(weights: Weights, actor: str) -> ForeignAgent:
    """An agent of ``ppo.py``, or of ``ppo_continuous_action.py``, whose actor has means."""
    layers = {"params.actor": weights.sequence(f"{actor}."), "params.critic": weights.sequence("critic.")}
    arrays = network_arrays(weights, layers)
    if actor == "actor":
        return _checked(agent_of_arrays("ppo", _LIBRARY, arrays, activation="tanh"), weights)
    arrays["log_std"] = weights.take("actor_logstd").reshape(-1)
    notes = (
        "CleanRL's script normalises observations and rewards, and the file doesn't have the statistics. The agent "
        "acts as it did only if yours was trained without.",
    )
    return _checked(
        agent_of_arrays("ppo", _LIBRARY, arrays, notes=notes, activation="tanh", in_task_units=True), weights
    )


def _unknown(names: Collection[str]) -> ForeignFileError:
    shown = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
    return ForeignFileError(
        f"it isn't known what its layers are for: {shown}. Give a mapping: --mapping FILE (docs/import-libraries.md)"
    )


def _of_jax(tensors: Mapping[str, np.ndarray]) -> ForeignAgent:
    """An agent of one of the scripts in JAX, which save one module or a list of modules of Flax."""
    names = {name.removesuffix(".kernel") for name in tensors if name.endswith(".kernel")}
    if any("Conv_" in name for name in names):
        raise ForeignFileError("its networks have convolutions, and agents here observe flat vectors")
    if any(name.startswith("model_weights.") for name in names):
        raise ForeignFileError(f"it is an agent of CleanRL's C51, which can't be trained here. {ONLY}")
    weights = Weights(tensors)
    layers = {part: [f"{part}params.Dense_{index}" for index in range(3)] for part in ("", "0.", "1.", "2.")}
    parts = [part for part, of in layers.items() if names >= set(of)]
    if not parts or names != {name for part in parts for name in layers[part]}:
        raise _unknown(names)
    match parts:
        case [""]:
            arrays = network_arrays(weights, {"params.q": layers[""]}, FLAX)
            return _checked(agent_of_arrays("dqn", _LIBRARY, arrays), weights)
        case ["0.", "1.", "2."]:
            places = {"params.actor": layers["0."], "params.critic.q1": layers["1."], "params.critic.q2": layers["2."]}
            return _checked(agent_of_arrays("td3", _LIBRARY, network_arrays(weights, places, FLAX)), weights)
        case ["0.", "1."]:
            raise ForeignFileError("it has one critic, as CleanRL's DDPG has, and agents here have twins")
    raise _unknown(names)


def _actor_critic(weights: Weights, tensors: Mapping[str, Any], algorithm: str, last: Layer) -> ForeignAgent:
    """An actor and two critics, saved one after the other."""
    layers: dict[str, list[Layer]] = {"params.actor": ["0.fc1", "0.fc2", last]}
    layers |= {f"params.critic.q{part}": [f"{part}.fc{layer}" for layer in (1, 2, 3)] for part in (1, 2)}
    notes = []
    if algorithm == "sac":
        notes.append(
            "Its exploration is not the same: CleanRL bounds the logarithm of the standard deviation by a tanh to -5 "
            "to 2, and here it is clipped to -20 to 2. Deterministic actions are the same."
        )
        notes.append("Its temperature isn't in the file: it begins with sac.initial_temperature.")
    found: Layers = layers
    agent = agent_of_arrays(algorithm, _LIBRARY, network_arrays(weights, found), notes=tuple(notes))
    scale, bias = (tensors.get(f"0.{name}") for name in _OWN_NAMES)
    more: dict[str, Any] = {"settings": {"sac": {"log_prob_epsilon": LOG_PROB_EPSILON}}} if algorithm == "sac" else {}
    if scale is not None and bias is not None and scale.size == bias.size == agent.action_size:
        middle, half = (np.asarray(array, np.float32).reshape(-1) for array in (bias, scale))
        more |= {"action_low": middle - half, "action_high": middle + half}
    return _checked(agent_of_arrays(algorithm, _LIBRARY, agent.arrays, notes=agent.notes, **more), weights)


def _checked(agent: ForeignAgent, weights: Weights) -> ForeignAgent:
    weights.check_all_used(f"an agent of {agent.algorithm.upper()} here")
    return agent
