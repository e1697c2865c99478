"""Reads agents of Stable-Baselines3: SAC, TD3, DQN and PPO with plain networks of ReLU or tanh units."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rlottery.activations import Activation
from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent, Layers, Weights, activation_called, network_arrays, to_unit_actions
from rlottery.interop.sb3_archive import ONLY, OTHERS, Settings, spaces_in
from rlottery.interop.sb3_settings import (
    action_noise,
    agent_of,
    dqn_settings,
    learning_rates,
    off_policy_training,
    ppo_settings,
    update_count,
)
from rlottery.interop.torch_adam import AdamState
from rlottery.interop.torch_file import read_torch, tensors_in
from rlottery.safety.pickle_machine import Name

LOG_PROB_EPSILON = 1e-6
"""What its SAC and CleanRL's add to 1 - tanh(u)^2 in the log-probability of actions; no setting of an agent."""
_LIBRARY = "Stable-Baselines3"
_CONTENTS = (
    *("policy.pth", "policy.optimizer.pth", "actor.optimizer.pth", "critic.optimizer.pth"),
    *("pytorch_variables.pth", "ent_coef_optimizer.pth"),
)
"""Files of an archive that hold what was learned."""
_ALGORITHMS = {"SACPolicy": "sac", "TD3Policy": "td3", "DQNPolicy": "dqn", "ActorCriticPolicy": "ppo"}


def read_sb3(
    settings: Settings, files: Mapping[str, bytes], reconstructed: Mapping[str, np.ndarray] | None = None
) -> ForeignAgent:
    """The agent in an archive. Raises ForeignFileError if it holds none that can be trained here; says why.

    Args:
        reconstructed: weights in place of those in the files, by file and name: ``policy.pth/actor.mu.weight``.
    """
    version = files.get("_stable_baselines3_version", b"").decode("ascii", "replace")[:20]
    algorithm = _algorithm(settings)
    if "policy.pth" not in files:
        raise ForeignFileError("it has no weights: the file 'policy.pth' is missing")
    activation = _checked_activation(settings, "Tanh" if algorithm == "ppo" else "ReLU")
    if reconstructed is None:
        contents = {name: read_torch(files[name]) for name in _CONTENTS if name in files}
    else:
        contents = {file: {} for file in dict.fromkeys(name.partition("/")[0] for name in reconstructed)}
        for name, array in reconstructed.items():
            file, _, inner = name.partition("/")
            contents[file][inner] = array
    agent = _READERS[algorithm](settings, contents, f"{_LIBRARY} {version}".strip())
    return replace(agent, activation=activation)


def _algorithm(settings: Settings) -> str:
    policy = settings.get("policy_class")
    if not isinstance(policy, Name):
        raise ForeignFileError("it doesn't say what policy it has")
    where = policy.module.partition(".")[0]
    if policy.name in OTHERS:
        raise ForeignFileError(f"it is an agent of {OTHERS[policy.name]}, which can't be trained here. {ONLY}")
    if where != "stable_baselines3" or policy.name not in _ALGORITHMS:
        raise ForeignFileError(
            f"its policy is {str(policy)[:100]!r}, and only Stable-Baselines3's MlpPolicy of each algorithm can be "
            f"trained here. {ONLY}"
        )
    algorithm = _ALGORITHMS[policy.name]
    if algorithm == "ppo" and "clip_range" not in settings:
        name = "TRPO" if "cg_max_steps" in settings else "A2C"
        raise ForeignFileError(f"it is an agent of {name}, which can't be trained here. {ONLY}")
    return algorithm


def _checked_activation(settings: Settings, usual: str) -> Activation:
    """The activation function of hidden layers.

    Args:
        usual: the one that the policy has by default.

    Raises ForeignFileError if networks here don't have it, or if its policy is otherwise of another kind.
    """
    kwargs = settings.get("policy_kwargs", {})
    if not isinstance(kwargs, dict):
        raise ForeignFileError("its policy_kwargs can't be read")
    given = kwargs.get("activation_fn")
    if given is not None and not isinstance(given, Name):
        raise ForeignFileError("its activation_fn can't be read")
    name = given.name if isinstance(given, Name) else usual
    activation = activation_called(name, "policy_kwargs=dict(activation_fn=torch.nn.ReLU) or torch.nn.Tanh")
    if settings.get("use_sde"):
        raise ForeignFileError("it explores by state-dependent noise (use_sde=True), which agents here don't have")
    extractor = kwargs.get("features_extractor_class")
    if extractor is not None and not (isinstance(extractor, Name) and extractor.name == "FlattenExtractor"):
        raise ForeignFileError("it has a features extractor of its own, and agents here read observations as they are")
    return activation


def _twin_critics(weights: Weights, settings: Settings) -> dict[str, Layers]:
    """The layers of both critics, and of their targets."""
    if len({name.split(".")[1] for name in weights.names("critic.")}) != 2:
        kwargs = settings.get("policy_kwargs", {})
        number = kwargs.get("n_critics") if isinstance(kwargs, dict) else None
        ddpg = ", as DDPG has" if number == 1 else ""
        raise ForeignFileError(f"it has another number of critics than two{ddpg}, and agents here have twins")
    names = {"q1": "qf0", "q2": "qf1"}
    return {
        "params": {f"params.critic.{ours}": weights.sequence(f"critic.{theirs}.") for ours, theirs in names.items()},
        "target": {ours: weights.sequence(f"critic_target.{theirs}.") for ours, theirs in names.items()},
    }


def _read_sac(settings: Settings, contents: Mapping[str, Any], library: str) -> ForeignAgent:
    notes: list[str] = []
    weights = Weights(tensors_in(contents["policy.pth"]))
    actor: Layers = {"params.actor": [*weights.sequence("actor.latent_pi."), ("actor.mu", "actor.log_std")]}
    critics = _twin_critics(weights, settings)
    targets = {f"target_critic.{name}": layers for name, layers in critics["target"].items()}
    arrays = network_arrays(weights, {**actor, **critics["params"], **targets})
    weights.check_all_used("an agent of SAC here")
    for group, layers in (("actor", actor), ("critic", critics["params"])):
        moments = AdamState(contents.get(f"{group}.optimizer.pth"), weights.names(f"{group}."))
        arrays |= moments.arrays(group, layers)
    own = learning_rates(settings, notes, ("actor", "critic", "temperature"))
    own |= {"discount": settings.get("gamma"), "polyak": settings.get("tau"), "batch_size": settings.get("batch_size")}
    own["log_prob_epsilon"] = LOG_PROB_EPSILON
    entropy = settings.number("target_entropy")
    if entropy is not None:
        own["target_entropy"] = "auto" if entropy == -spaces_in(settings)["action_size"] else entropy
    arrays |= _temperature(settings, contents, own, notes)
    if settings.get("target_update_interval", 1) != 1:
        notes.append("Its targets were moved less often than after each update, as they are here.")
    return agent_of(settings, "sac", library, arrays, own, off_policy_training(settings, notes), notes)


def _temperature(
    settings: Settings, contents: Mapping[str, Any], own: dict[str, Any], notes: list[str]
) -> dict[str, np.ndarray]:
    """The learned temperature. Adds its first value to `own`."""
    found = contents.get("pytorch_variables.pth")
    variables = found if isinstance(found, dict) else {}
    first = settings.get("ent_coef")
    if isinstance(first, str):
        try:
            own["initial_temperature"] = float(first.partition("_")[2] or 1.0)
        except ValueError:
            raise ForeignFileError(f"its ent_coef can't be read: {first[:50]!r}") from None
    elif type(first) in (int, float):
        own["initial_temperature"] = float(first)
        notes.append("Its temperature (ent_coef) was fixed. Here it is learned, and begins with that value.")
    log = variables.get("log_ent_coef")
    if isinstance(log, np.ndarray) and log.size == 1 and np.isfinite(log).all():
        return {"log_temperature": np.asarray(log, np.float32).reshape(()), **_of_temperature(contents)}
    if own.get("initial_temperature", 0) > 0:
        return {"log_temperature": np.array(math.log(own["initial_temperature"]), np.float32)}
    raise ForeignFileError("it has no temperature (log_ent_coef)")


def _of_temperature(contents: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Adam's state of the temperature."""
    moments = AdamState(contents.get("ent_coef_optimizer.pth"), ["log_ent_coef"])
    if moments.step is None:
        return {}
    mean, square = (np.asarray(of, np.float32).reshape(()) for of in moments.pair("log_ent_coef"))
    return {
        "optimizer.temperature.0.count": np.array(moments.step, np.int32),
        "optimizer.temperature.0.mu": mean,
        "optimizer.temperature.0.nu": square,
    }


def _read_td3(settings: Settings, contents: Mapping[str, Any], library: str) -> ForeignAgent:
    notes: list[str] = []
    weights = Weights(tensors_in(contents["policy.pth"]))
    actor: Layers = {"params.actor": weights.sequence("actor.mu.")}
    critics = _twin_critics(weights, settings)
    targets: dict[str, Any] = {"targets.actor": weights.sequence("actor_target.mu.")}
    targets |= {f"targets.critic.{name}": layers for name, layers in critics["target"].items()}
    arrays = network_arrays(weights, {**actor, **critics["params"], **targets})
    weights.check_all_used("an agent of TD3 here")
    for group, layers in (("actor", actor), ("critic", critics["params"])):
        moments = AdamState(contents.get(f"{group}.optimizer.pth"), weights.names(f"{group}."))
        arrays |= moments.arrays(group, layers)
    arrays["updates"] = update_count(settings.get("_n_updates"))
    own = learning_rates(settings, notes, ("actor", "critic"))
    own |= {"discount": settings.get("gamma"), "polyak": settings.get("tau"), "batch_size": settings.get("batch_size")}
    own |= {"policy_delay": settings.get("policy_delay"), "target_noise": settings.get("target_policy_noise")}
    own |= {"target_noise_clip": settings.get("target_noise_clip"), **action_noise(settings, notes)}
    return agent_of(settings, "td3", library, arrays, own, off_policy_training(settings, notes), notes)


def _read_dqn(settings: Settings, contents: Mapping[str, Any], library: str) -> ForeignAgent:
    notes: list[str] = []
    weights = Weights(tensors_in(contents["policy.pth"]))
    network: Layers = {"params.q": weights.sequence("q_net.q_net.")}
    arrays = network_arrays(weights, {**network, "target": weights.sequence("q_net_target.q_net.")})
    weights.check_all_used("an agent of DQN here")
    arrays |= AdamState(contents.get("policy.optimizer.pth"), weights.names("q_net.")).arrays("q", network)
    arrays["updates"] = update_count(settings.get("_n_updates"))
    own, training = dqn_settings(settings, notes)
    return agent_of(settings, "dqn", library, arrays, own, training, notes)


def _read_ppo(settings: Settings, contents: Mapping[str, Any], library: str) -> ForeignAgent:
    notes: list[str] = []
    weights = Weights(tensors_in(contents["policy.pth"]))
    if weights.names("mlp_extractor.shared_net."):
        raise ForeignFileError("its networks share layers, which those of agents here don't")
    actor: Layers = {"params.actor": [*weights.sequence("mlp_extractor.policy_net."), "action_net"]}
    critic: Layers = {"params.critic": [*weights.sequence("mlp_extractor.value_net."), "value_net"]}
    arrays = network_arrays(weights, {**actor, **critic})
    spaces = spaces_in(settings)
    if not spaces["discrete"]:
        arrays["log_std"] = weights.take("log_std")
    weights.check_all_used("an agent of PPO here")
    moments = AdamState(contents.get("policy.optimizer.pth"), weights.names(""))
    if spaces["discrete"] or to_unit_actions(arrays, spaces):
        for group, layers in (("actor", actor), ("critic", critic)):
            arrays |= moments.arrays(group, layers)
    own, training = ppo_settings(settings, notes)
    return agent_of(settings, "ppo", library, arrays, own, training, notes)


_READERS: Mapping[str, Callable[[Settings, Mapping[str, Any], str], ForeignAgent]] = {
    "sac": _read_sac,
    "td3": _read_td3,
    "dqn": _read_dqn,
    "ppo": _read_ppo,
}
