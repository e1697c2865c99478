"""Reads agents of Stable-Baselines3 (``model.save``): SAC, TD3, DQN and PPO with plain ReLU networks.

The file is a ZIP archive: ``data`` holds settings as JSON, with pickles in it, and ``*.pth`` the weights and optimisers
(https://stable-baselines3.readthedocs.io/en/master/guide/save_format.html).
"""

import base64
import binascii
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent, Layers, Weights, network_arrays
from rlottery.interop.inert_objects import InertReader, Record
from rlottery.interop.torch_file import read_torch, tensors_in
from rlottery.safety.pickle_machine import Name
from rlottery.safety.zip_files import checked_zip, read_entry
from rlottery.storage.disk import most_values

MOST_BYTES = 2**32
MODULES = ("stable_baselines3", "sb3_contrib", "sbx", "gymnasium", "gym", "numpy", "torch", "collections")
"""The packages that objects in these files belong to."""

LOG_PROB_EPSILON = 1e-6
"""What its SAC and CleanRL's add to 1 - tanh(u)^2 in the log-probability of actions; no setting of an agent."""
SAVE = 'Give what Stable-Baselines3 or SBX saved: model.save("agent.zip")'
_MOST_VALUES = 1_000_000
_LIBRARY = "Stable-Baselines3"
_ALGORITHMS = {"SACPolicy": "sac", "TD3Policy": "td3", "DQNPolicy": "dqn", "ActorCriticPolicy": "ppo"}
OTHERS = {
    "TQCPolicy": "TQC",
    "QRDQNPolicy": "QR-DQN",
    "CrossQPolicy": "CrossQ",
    "MaskableActorCriticPolicy": "MaskablePPO",
    "RecurrentActorCriticPolicy": "RecurrentPPO",
    "ARSPolicy": "ARS",
}
"""Algorithms of SB3-Contrib by their policies. None of them is one that can be trained here."""


class Settings:
    """The settings in ``data``, where objects are read when they are asked for."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> Any:
        """A setting as it is in the JSON."""
        return self._values.get(name)

    def get(self, name: str, default: Any = None) -> Any:
        """A setting: a plain value, or what stands for an object. Raises ForeignFileError if it can't be read."""
        value = self._values.get(name, default)
        if not isinstance(value, dict) or ":serialized:" not in value:
            return value
        try:
            data = base64.b64decode(value[":serialized:"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ForeignFileError(f"its setting {name} is damaged") from None
        try:
            return InertReader(io.BytesIO(data), "agent", MODULES).read()
        except ForeignFileError as error:
            raise ForeignFileError(f"its setting {name} can't be read: {error}") from None

    def readable(self, name: str) -> Any:
        """A setting, or None if it is an object that can't be read, such as a function."""
        try:
            return self.get(name)
        except ForeignFileError:
            return None

    def number(self, name: str) -> float | None:
        """A number, or that of a schedule that is constant; None if it is another one."""
        found = self.readable(name)
        while isinstance(found, Record) and "value_schedule" in found.state:
            found = found.state["value_schedule"]
        if isinstance(found, Record) and found.name.endswith(".ConstantSchedule"):
            found = found.state.get("val")
        return float(found) if type(found) in (int, float) and math.isfinite(found) else None


def open_archive(data: bytes) -> tuple[Settings, dict[str, bytes]]:
    """The settings and the files in an archive of `model.save`. Raises ForeignFileError if it is none."""
    try:
        with checked_zip(io.BytesIO(data), MOST_BYTES) as archive:
            files = {entry.filename: read_entry(archive, entry) for entry in archive.infolist()}
    except (ValueError, zipfile.BadZipFile, MemoryError) as error:
        raise ForeignFileError(f"it is not a ZIP file, or it is damaged: {str(error)[:200]}. {SAVE}") from None
    try:
        # A small value takes twenty times its text.
        values = json.loads(files["data"]) if most_values(files["data"]) < _MOST_VALUES else None
    except (KeyError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ForeignFileError(f"it has no settings of an agent, which are JSON in the file 'data'. {SAVE}")
    return Settings(values), files


def read_sb3(settings: Settings, files: Mapping[str, bytes]) -> ForeignAgent:
    """The agent in an archive. Raises ForeignFileError if it holds none that can be trained here; says why."""
    version = files.get("_stable_baselines3_version", b"").decode("ascii", "replace")[:20]
    algorithm = _algorithm(settings)
    if "policy.pth" not in files:
        raise ForeignFileError("it has no weights: the file 'policy.pth' is missing")
    return _READERS[algorithm](settings, files, f"{_LIBRARY} {version}".strip())


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


ONLY = "Agents of SAC, TD3, DQN and PPO can be imported."


def spaces_in(settings: Settings) -> dict[str, Any]:
    """The sizes and bounds of an agent's spaces. Raises ForeignFileError if agents here don't know such ones."""
    observations, actions = settings.get("observation_space"), settings.get("action_space")
    shape = observations.state.get("_shape") if isinstance(observations, Record) else None
    if not _is(observations, "Box") or type(shape) is not tuple or len(shape) != 1:
        kind = _short(observations)
        grid = f" of the shape {shape}" if _is(observations, "Box") else ""
        raise ForeignFileError(f"it observes a {kind} space{grid}, and agents here observe flat vectors (Box)")
    if _is(actions, "Discrete"):
        count, first = actions.state.get("n"), actions.state.get("start", 0)
        if not isinstance(count, int | np.integer) or not isinstance(first, int | np.integer):
            raise ForeignFileError("its number of actions can't be read")
        return {"observation_size": int(shape[0]), "action_size": int(count), "discrete": True}
    low, high = (actions.state.get(name) if _is(actions, "Box") else None for name in ("low", "high"))
    if not isinstance(low, np.ndarray) or not isinstance(high, np.ndarray) or low.ndim != 1 or low.shape != high.shape:
        raise ForeignFileError(f"it acts in a {_short(actions)} space, and agents here in a flat Box or a Discrete one")
    sizes = {"observation_size": int(shape[0]), "action_size": len(low), "discrete": False}
    return {**sizes, "action_low": low.astype(np.float32), "action_high": high.astype(np.float32)}


def _is(space: object, kind: str) -> bool:
    return isinstance(space, Record) and space.name.rpartition(".")[2] == kind and ".spaces." in space.name


def _short(space: object) -> str:
    return repr(space.name.rpartition(".")[2][:50]) if isinstance(space, Record) else "unknown"


def _check_networks(settings: Settings, usual_activation: str) -> None:
    """Raise ForeignFileError unless hidden layers have ReLU, and actions plain noise."""
    kwargs = settings.get("policy_kwargs", {})
    if not isinstance(kwargs, dict):
        raise ForeignFileError("its policy_kwargs can't be read")
    given = kwargs.get("activation_fn")
    if given is not None and not isinstance(given, Name):
        raise ForeignFileError("its activation_fn can't be read")
    activation = given.name if isinstance(given, Name) else usual_activation
    if activation != "ReLU":
        usual = "" if given is not None else ", the default of its policy"
        raise ForeignFileError(
            f"its hidden layers have {activation[:50]}{usual}, and those of agents here ReLU. Train it with "
            "policy_kwargs=dict(activation_fn=torch.nn.ReLU)"
        )
    if settings.get("use_sde"):
        raise ForeignFileError("it explores by state-dependent noise (use_sde=True), which agents here don't have")
    extractor = kwargs.get("features_extractor_class")
    if extractor is not None and not (isinstance(extractor, Name) and extractor.name == "FlattenExtractor"):
        raise ForeignFileError("it has a features extractor of its own, and agents here read observations as they are")


class _Moments:
    """Adam's state in a file, if it has one for each of the parameters with these names."""

    def __init__(self, content: bytes | None, parameters: Sequence[str]):
        self.step: int | None = None
        self._moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        state = read_torch(content) if content is not None else None
        found = state.get("state") if isinstance(state, dict) else None
        if not isinstance(found, dict) or not set(range(len(parameters))) <= found.keys():
            return
        steps = []
        for index, name in enumerate(parameters):
            of = found[index]
            if not isinstance(of, dict) or not {"step", "exp_avg", "exp_avg_sq"} <= of.keys():
                return
            steps.append(int(of["step"]))
            self._moments[name] = of["exp_avg"], of["exp_avg_sq"]
        self.step = max(steps, default=None)

    def pair(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The first and the second moment of a parameter."""
        return self._moments[name]

    def arrays(self, group: str, layers: Layers) -> dict[str, np.ndarray]:
        """Adam's state of a group of networks, by the names of a saved agent. Empty if the file has none."""
        if self.step is None:
            return {}
        arrays: dict[str, np.ndarray] = {f"optimizer.{group}.0.count": np.array(self.step, np.int32)}
        for index, moment in enumerate(("mu", "nu")):
            tensors = {name: of[index] for name, of in self._moments.items()}
            own = {
                place.replace(f"params.{group}", f"optimizer.{group}.0.{moment}"): of for place, of in layers.items()
            }
            arrays |= network_arrays(Weights(tensors), own)
        return arrays


def learning_rates(settings: Settings, notes: list[str], groups: Sequence[str] = ()) -> dict[str, Any]:
    """``{"learning_rate": rate}``, or that of each group by its name; an empty dict if it is a schedule."""
    rate = settings.number("learning_rate")
    if rate is None:
        notes.append("Its learning rate is a schedule, which is not imported.")
        return {}
    return {f"{group}_learning_rate": rate for group in groups} or {"learning_rate": rate}


def off_policy_training(settings: Settings, notes: list[str]) -> dict[str, Any]:
    """The settings of `training` for an agent that learns from replay."""
    number, steps = settings.get("n_envs", 1), settings.get("num_timesteps")
    frequency = settings.readable("train_freq")
    training: dict[str, Any] = {"env_steps": steps, "warmup_steps": settings.get("learning_starts")}
    unit = frequency.arguments[1] if isinstance(frequency, Record) and len(frequency.arguments) == 2 else None
    every, updates = (frequency.arguments[0] if unit is not None else frequency), settings.get("gradient_steps")
    if isinstance(unit, Record) and unit.arguments != ("step",):
        notes.append("It was updated at the ends of episodes (train_freq), and is updated after each step here.")
    elif type(every) is int and type(updates) is int and type(number) is int:
        own = every * number
        updates = own if updates == -1 else updates
        training["updates_per_step"] = updates if own == 1 else {"every": own, "updates": updates}
    training["environments"] = number
    size = settings.get("buffer_size")
    if type(size) is int and type(steps) is int and type(number) is int and size < steps:
        training["replay_capacity"] = max(size // number, 1) * number  # rows of as many environments
    return training


def agent_of(
    settings: Settings, algorithm: str, library: str, arrays: Mapping[str, np.ndarray], own: Mapping[str, Any],
    training: Mapping[str, Any], notes: Sequence[str],
) -> ForeignAgent:  # fmt: skip
    steps, seed = settings.get("num_timesteps"), settings.get("seed")
    for name, value in (*own.items(), *training.items()):
        if isinstance(value, Name | Record | np.ndarray):
            raise ForeignFileError(f"its setting for {name} is an object that can't be read")
    return ForeignAgent(
        algorithm,
        library,
        arrays,
        **spaces_in(settings),
        settings={algorithm: own, "training": training},
        env_steps=steps if type(steps) is int and steps >= 0 else None,
        seed=seed if type(seed) is int and seed >= 0 else None,
        notes=tuple(notes),
    )


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


def _read_sac(settings: Settings, files: Mapping[str, bytes], library: str) -> ForeignAgent:
    _check_networks(settings, "ReLU")
    notes: list[str] = []
    weights = Weights(tensors_in(read_torch(files["policy.pth"])))
    actor: Layers = {"params.actor": [*weights.sequence("actor.latent_pi."), ("actor.mu", "actor.log_std")]}
    critics = _twin_critics(weights, settings)
    targets = {f"target_critic.{name}": layers for name, layers in critics["target"].items()}
    arrays = network_arrays(weights, {**actor, **critics["params"], **targets})
    weights.check_all_used("an agent of SAC here")
    for group, layers in (("actor", actor), ("critic", critics["params"])):
        moments = _Moments(files.get(f"{group}.optimizer.pth"), weights.names(f"{group}."))
        arrays |= moments.arrays(group, layers)
    own = learning_rates(settings, notes, ("actor", "critic", "temperature"))
    own |= {"discount": settings.get("gamma"), "polyak": settings.get("tau"), "batch_size": settings.get("batch_size")}
    own["log_prob_epsilon"] = LOG_PROB_EPSILON
    entropy = settings.number("target_entropy")
    if entropy is not None:
        own["target_entropy"] = "auto" if entropy == -spaces_in(settings)["action_size"] else entropy
    arrays |= _temperature(settings, files, own, notes)
    if settings.get("target_update_interval", 1) != 1:
        notes.append("Its targets were moved less often than after each update, as they are here.")
    return agent_of(settings, "sac", library, arrays, own, off_policy_training(settings, notes), notes)


def _temperature(
    settings: Settings, files: Mapping[str, bytes], own: dict[str, Any], notes: list[str]
) -> dict[str, np.ndarray]:
    """The learned temperature. Adds its first value to `own`."""
    variables = read_torch(files["pytorch_variables.pth"]) if "pytorch_variables.pth" in files else {}
    variables = variables if isinstance(variables, dict) else {}
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
        return {"log_temperature": np.asarray(log, np.float32).reshape(()), **_of_temperature(files)}
    if own.get("initial_temperature", 0) > 0:
        return {"log_temperature": np.array(math.log(own["initial_temperature"]), np.float32)}
    raise ForeignFileError("it has no temperature (log_ent_coef)")


def _of_temperature(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """Adam's state of the temperature."""
    moments = _Moments(files.get("ent_coef_optimizer.pth"), ["log_ent_coef"])
    if moments.step is None:
        return {}
    mean, square = (np.asarray(of, np.float32).reshape(()) for of in moments.pair("log_ent_coef"))
    return {
        "optimizer.temperature.0.count": np.array(moments.step, np.int32),
        "optimizer.temperature.0.mu": mean,
        "optimizer.temperature.0.nu": square,
    }


def _read_td3(settings: Settings, files: Mapping[str, bytes], library: str) -> ForeignAgent:
    _check_networks(settings, "ReLU")
    notes: list[str] = []
    weights = Weights(tensors_in(read_torch(files["policy.pth"])))
    actor: Layers = {"params.actor": weights.sequence("actor.mu.")}
    critics = _twin_critics(weights, settings)
    targets: dict[str, Any] = {"targets.actor": weights.sequence("actor_target.mu.")}
    targets |= {f"targets.critic.{name}": layers for name, layers in critics["target"].items()}
    arrays = network_arrays(weights, {**actor, **critics["params"], **targets})
    weights.check_all_used("an agent of TD3 here")
    for group, layers in (("actor", actor), ("critic", critics["params"])):
        moments = _Moments(files.get(f"{group}.optimizer.pth"), weights.names(f"{group}."))
        arrays |= moments.arrays(group, layers)
    arrays["updates"] = update_count(settings.get("_n_updates"))
    own = learning_rates(settings, notes, ("actor", "critic"))
    own |= {"discount": settings.get("gamma"), "polyak": settings.get("tau"), "batch_size": settings.get("batch_size")}
    own |= {"policy_delay": settings.get("policy_delay"), "target_noise": settings.get("target_policy_noise")}
    own |= {"target_noise_clip": settings.get("target_noise_clip"), **action_noise(settings, notes)}
    return agent_of(settings, "td3", library, arrays, own, off_policy_training(settings, notes), notes)


def action_noise(settings: Settings, notes: list[str]) -> dict[str, float]:
    """The standard deviation of the noise on actions that collect data."""
    noise = settings.readable("action_noise")
    if noise is None and settings.get("action_noise") is None:
        return {"exploration_noise": 0.0}
    sigma = (
        noise.state.get("_sigma") if isinstance(noise, Record) and noise.name.endswith("NormalActionNoise") else None
    )
    if isinstance(sigma, np.ndarray) and sigma.size and np.isfinite(sigma).all() and np.ptp(sigma) == 0:
        return {"exploration_noise": float(sigma.reshape(-1)[0])}
    notes.append("Its exploration noise is of another kind than here, and is not imported.")
    return {}


def _read_dqn(settings: Settings, files: Mapping[str, bytes], library: str) -> ForeignAgent:
    _check_networks(settings, "ReLU")
    notes: list[str] = []
    weights = Weights(tensors_in(read_torch(files["policy.pth"])))
    network: Layers = {"params.q": weights.sequence("q_net.q_net.")}
    arrays = network_arrays(weights, {**network, "target": weights.sequence("q_net_target.q_net.")})
    weights.check_all_used("an agent of DQN here")
    arrays |= _Moments(files.get("policy.optimizer.pth"), weights.names("q_net.")).arrays("q", network)
    arrays["updates"] = update_count(settings.get("_n_updates"))
    own, training = dqn_settings(settings, notes)
    return agent_of(settings, "dqn", library, arrays, own, training, notes)


def dqn_settings(settings: Settings, notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `dqn` and of `training`."""
    own: dict[str, Any] = {
        **learning_rates(settings, notes),
        "discount": settings.get("gamma"),
        "batch_size": settings.get("batch_size"),
        "exploration_start": settings.get("exploration_initial_eps"),
        "exploration_end": settings.get("exploration_final_eps"),
        "max_gradient_norm": settings.get("max_grad_norm"),
    }
    training = off_policy_training(settings, notes)
    fraction, total = settings.get("exploration_fraction"), settings.get("_total_timesteps")
    if type(fraction) in (int, float) and type(total) is int:
        own["exploration_steps"] = max(1, round(fraction * total))
    per_step = training.get("updates_per_step")
    interval = settings.get("target_update_interval")
    if settings.get("tau", 1.0) != 1.0:
        notes.append(
            "Its target moved in small steps (tau); here it is a copy from time to time (dqn.target_interval)."
        )
    elif type(interval) is int and per_step is not None:
        every, updates = (per_step["every"], per_step["updates"]) if isinstance(per_step, dict) else (1, per_step)
        most = (training["env_steps"] - training["warmup_steps"]) * updates // every
        own["target_interval"] = max(1, min(interval * updates // every, most))
    return own, training


def _read_ppo(settings: Settings, files: Mapping[str, bytes], library: str) -> ForeignAgent:
    _check_networks(settings, "Tanh")
    notes: list[str] = []
    weights = Weights(tensors_in(read_torch(files["policy.pth"])))
    if weights.names("mlp_extractor.shared_net."):
        raise ForeignFileError("its networks share layers, which those of agents here don't")
    actor: Layers = {"params.actor": [*weights.sequence("mlp_extractor.policy_net."), "action_net"]}
    critic: Layers = {"params.critic": [*weights.sequence("mlp_extractor.value_net."), "value_net"]}
    arrays = network_arrays(weights, {**actor, **critic})
    spaces = spaces_in(settings)
    if not spaces["discrete"]:
        arrays["log_std"] = weights.take("log_std")
    weights.check_all_used("an agent of PPO here")
    moments = _Moments(files.get("policy.optimizer.pth"), weights.names(""))
    if spaces["discrete"] or to_unit_actions(arrays, spaces):
        for group, layers in (("actor", actor), ("critic", critic)):
            arrays |= moments.arrays(group, layers)
    own, training = ppo_settings(settings, notes)
    return agent_of(settings, "ppo", library, arrays, own, training, notes)


def ppo_settings(settings: Settings, notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `ppo` and of `training`."""
    number, steps = settings.get("n_envs", 1), settings.get("n_steps")
    own: dict[str, Any] = {
        **learning_rates(settings, notes),
        "discount": settings.get("gamma"),
        "gae_lambda": settings.get("gae_lambda"),
        "clip": settings.number("clip_range"),
        "rollout_steps": steps * number if type(steps) is int and type(number) is int else None,
        "epochs": settings.get("n_epochs"),
        "batch_size": settings.get("batch_size"),
        "entropy_weight": settings.get("ent_coef"),
        "value_weight": settings.get("vf_coef"),
        "max_gradient_norm": settings.get("max_grad_norm"),
        "normalize_advantages": settings.get("normalize_advantage"),
    }
    for name, what in (("clip_range_vf", "clipped its values"), ("target_kl", "stopped epochs at a KL divergence")):
        if settings.get(name) is not None:
            notes.append(f"Its training {what} ({name}), which training here doesn't.")
    training = {"env_steps": settings.get("num_timesteps"), "environments": number}
    return own, training


def to_unit_actions(arrays: dict[str, np.ndarray], spaces: Mapping[str, Any]) -> bool:
    """Let the actor's outputs be actions in [-1, 1], where they were in the units of the task.

    Returns whether nothing had to change.
    """
    low, high = spaces["action_low"].astype(np.float64), spaces["action_high"].astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ForeignFileError("its actions have no finite bounds, or bounds that are equal")
    if (low == -1).all() and (high == 1).all():
        return True
    last = max((name for name in arrays if name.startswith("params.actor.")), key=_layer_number).rpartition(".")[0]
    scale = 2 / (high - low)
    arrays[f"{last}.kernel"] = (arrays[f"{last}.kernel"] * scale).astype(np.float32)
    arrays[f"{last}.bias"] = ((arrays[f"{last}.bias"] - low) * scale - 1).astype(np.float32)
    arrays["log_std"] = (arrays["log_std"] + np.log(scale)).astype(np.float32)
    return False


def _layer_number(name: str) -> int:
    return int(name.rpartition("layer_")[2].partition(".")[0])


def update_count(updates: object) -> np.ndarray:
    return np.array(updates if type(updates) is int and 0 <= updates < 2**31 else 0, np.int32)


_READERS: Mapping[str, Callable[[Settings, Mapping[str, bytes], str], ForeignAgent]] = {
    "sac": _read_sac,
    "td3": _read_td3,
    "dqn": _read_dqn,
    "ppo": _read_ppo,
}
