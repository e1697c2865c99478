"""Reads agents of SBX (Stable-Baselines3 in JAX): SAC, TD3, DQN and PPO with plain networks of ReLU or tanh units.

The archive is that of Stable-Baselines3, but weights are JAX arrays within the pickled policy. It is interpreted: of
the code in it, which cloudpickle stores too, nothing is executed.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from rlottery.activations import Activation
from rlottery.errors import ForeignFileError
from rlottery.interop.agent import FLAX, ForeignAgent, Weights, activation_called, network_arrays, to_unit_actions
from rlottery.interop.inert_objects import NUMPY_NAMES, InertReader, Record, array_of, named_values
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
from rlottery.safety.pickle_machine import Name, Run

_MODULES = (
    *("jax", "jaxlib", "numpy", "optax", "flax", "sbx", "stable_baselines3", "gymnasium", "collections"),
    *("cloudpickle", "inspect", "typing", "_operator", "_functools", "torch"),
)
_BUILTINS = {"str", "int", "float", "bool", "tuple", "list", "dict", "set", "type", "object", "property", "getattr"}
_BUILTINS |= {"Ellipsis", "slice", "NoneType", "super", "staticmethod", "classmethod"}
_ALGORITHMS = {"SACPolicy": "sac", "TD3Policy": "td3", "DQNPolicy": "dqn", "PPOPolicy": "ppo"}


def is_sbx(settings: Settings) -> bool:
    """Whether an archive is one of SBX."""
    policy = settings.readable("policy_class")
    return isinstance(policy, Name) and policy.module.partition(".")[0] == "sbx"


def read_sbx(settings: Settings, reconstructed: Mapping[str, np.ndarray] | None = None) -> ForeignAgent:
    """The agent in an archive. Raises ForeignFileError if it holds none that can be trained here; says why.

    Args:
        reconstructed: weights in place of those in the file, by their paths:
            ``qf_state/target_params/params.VmapContinuousCritic_0.Dense_0.kernel``.
    """
    kind = settings.get("policy_class")
    if kind.name not in _ALGORITHMS:
        name = OTHERS.get(kind.name, kind.name[:50])
        raise ForeignFileError(f"it is an agent of {name}, which can't be trained here. {ONLY}")
    policy = _object(settings, "policy")
    algorithm = _ALGORITHMS[kind.name]
    activation = _checked_activation(policy)
    states = _States(settings, policy, reconstructed)
    return replace(_READERS[algorithm](settings, states), activation=activation)


class _SbxReader(InertReader):
    """Lets objects be called that are the results of calls: cloudpickle builds functions and classes so."""

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), "agent of SBX", _MODULES)

    def named(self, module: str, name: str) -> Name:
        if module == "builtins" and name in _BUILTINS:
            return Name(module, name)
        return super().named(module, name)

    def called(self, function: object, arguments: object) -> object:
        if isinstance(function, Record):
            return Record(function.name, arguments)
        if isinstance(function, Name) and function not in NUMPY_NAMES:
            return Record(str(function), arguments)
        return super().called(function, arguments)

    def make_object(self, opcode: Any) -> None:
        kind, arguments, *_ = self._pop(2 if opcode.name == "NEWOBJ" else 3)
        self.stack.append(self.called(kind, arguments))

    instructions: ClassVar[Mapping[str, Run]] = {
        **InertReader.instructions,
        **dict.fromkeys(("NEWOBJ", "NEWOBJ_EX"), make_object),
    }


def _object(settings: Settings, name: str) -> Mapping[str, Any]:
    """The attributes of an object in the settings."""
    value = settings.raw(name)
    try:
        data = base64.b64decode(value[":serialized:"], validate=True)
        found = _SbxReader(data).read()
    except ForeignFileError as error:
        raise ForeignFileError(f"its {name} can't be read: {error}") from None
    except (KeyError, TypeError, ValueError):
        raise ForeignFileError(f"it has no {name}") from None
    if not isinstance(found, Record):
        raise ForeignFileError(f"its {name} can't be read")
    return found.state


def _checked_activation(policy: Mapping[str, Any]) -> Activation:
    """The activation function of hidden layers. Raises ForeignFileError if networks here are of another kind."""
    activation = policy.get("activation_fn")
    if isinstance(activation, Record):  # a function of JAX with a derivative of its own, or a compiled one
        name = activation.state.get("__name__") or activation.state.get("function_name")
    else:
        name = getattr(activation, "name", None)
    how = "policy_kwargs=dict(activation_fn=flax.linen.relu) or flax.linen.tanh"
    found = activation_called(str(name or "another activation function"), how)
    if policy.get("use_sde"):
        raise ForeignFileError("it explores by state-dependent noise (use_sde=True), which agents here don't have")
    if policy.get("dropout_rate") or policy.get("layer_norm"):
        raise ForeignFileError("its critics have dropout or layer normalisation, which those of agents here don't")
    return found


class _States:
    """The weights in an agent's train states, or others in their place.

    Args:
        policy: the attributes of its policy.
        reconstructed: as of `read_sbx`.
    """

    def __init__(self, settings: Settings, policy: Mapping[str, Any], reconstructed: Mapping[str, np.ndarray] | None):
        self._settings, self._policy, self._reconstructed = settings, policy, reconstructed

    def params(self, name: str, attribute: str = "params") -> dict[str, np.ndarray]:
        """The arrays of a network's weights, by their paths in its state without ``params``."""
        if self._reconstructed is not None:
            found = self._made(f"{name}/{attribute}/params.")
        else:
            state = self._policy.get(name)
            tree = state.state.get(attribute) if isinstance(state, Record) else None
            found = _arrays_in(tree.get("params") if isinstance(tree, dict) else None)
        if not found:
            raise ForeignFileError(f"it has no weights in its {name}")
        return found

    def temperature(self) -> np.ndarray | None:
        """The logarithm of SAC's temperature; None if there is none that can be read."""
        name = "ent_coef_state"
        if self._reconstructed is not None:
            found = self._made(f"{name}/params/")
        else:
            found = _arrays_in(_object(self._settings, name).get("params"))
        log = found.get("log_ent_coef")
        if log is None or log.size != 1 or not np.isfinite(log).all():
            return None
        return np.asarray(log, np.float32).reshape(())

    def _made(self, prefix: str) -> dict[str, np.ndarray]:
        made = (self._reconstructed or {}).items()
        return {path.removeprefix(prefix): array for path, array in made if path.startswith(prefix)}


def _arrays_in(tree: object) -> dict[str, np.ndarray]:
    return {path: array for path, value in named_values(tree) if (array := array_in(value)) is not None}


def array_in(value: object) -> np.ndarray | None:
    """The array that a record of JAX stands for; None if it is another one."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, Record) or not value.name.endswith("._reconstruct_array"):
        return None
    match value.arguments:
        case (_, _, (1, shape, dtype, bool() as fortran, content), *_) if hasattr(dtype, "own"):
            return array_of(content, dtype.own, shape, "F" if fortran else "C")
    return None


def _dense(tensors: Mapping[str, np.ndarray], prefix: str = "") -> list[str]:
    """The layers ``Dense_0``, ``Dense_1``, ... in their order."""
    names = {name.rpartition(".")[0] for name in tensors if name.startswith(f"{prefix}Dense_")}
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


def _network(place: str, tensors: Mapping[str, np.ndarray], heads: int = 1) -> dict[str, np.ndarray]:
    """The arrays of one network, whose last layers are so many next to each other."""
    layers: list[Any] = list(_dense(tensors))
    if len(layers) < heads:
        raise ForeignFileError(f"it has no layers of {place}")
    weights = Weights({name: array for name, array in tensors.items() if name != "log_std"})
    if heads > 1:
        layers = [*layers[:-heads], tuple(layers[-heads:])]
    arrays = network_arrays(weights, {place: layers}, FLAX)
    weights.check_all_used("a network here")
    return arrays


def _twins(places: Sequence[str], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of twin critics, which are one network whose arrays have a first axis more."""
    vmapped = {name.partition(".")[0] for name in tensors}
    if len(vmapped) != 1 or any(len(array) != 2 for array in tensors.values()):
        raise ForeignFileError("it has another number of critics than two, and agents here have twins")
    arrays: dict[str, np.ndarray] = {}
    for index, place in enumerate(places):
        arrays |= _network(place, {name.partition(".")[2]: array[index] for name, array in tensors.items()})
    return arrays


_CRITICS = ("params.critic.q1", "params.critic.q2")
_LIBRARY = "SBX"


def _off_policy(settings: Settings, notes: list[str], groups: Sequence[str]) -> dict[str, Any]:
    own = learning_rates(settings, notes, groups)
    if (rate := settings.number("qf_learning_rate")) is not None:
        own["critic_learning_rate"] = rate
    return own | {
        "discount": settings.get("gamma"),
        "polyak": settings.get("tau"),
        "batch_size": settings.get("batch_size"),
    }


def _read_sac(settings: Settings, states: _States) -> ForeignAgent:
    notes: list[str] = []
    arrays = _network("params.actor", states.params("actor_state"), heads=2)
    arrays |= _twins(_CRITICS, states.params("qf_state"))
    arrays |= _twins(("target_critic.q1", "target_critic.q2"), states.params("qf_state", "target_params"))
    own = _off_policy(settings, notes, ("actor", "critic", "temperature"))
    entropy, size = settings.readable("target_entropy"), spaces_in(settings)["action_size"]
    if isinstance(entropy, float | int | np.floating):
        own["target_entropy"] = "auto" if float(entropy) == -size else float(entropy)
    first = settings.get("ent_coef_init")
    own["initial_temperature"] = float(str(first).partition("_")[2] or 1.0) if isinstance(first, str) else first
    log = states.temperature()
    if log is not None:
        arrays["log_temperature"] = log
    else:
        notes.append("Its temperature can't be read: it begins with sac.initial_temperature.")
    if settings.get("policy_delay", 1) != 1:
        notes.append("Its actor was updated less often than its critics, which it isn't here.")
    return agent_of(settings, "sac", _LIBRARY, arrays, own, off_policy_training(settings, notes), notes)


def _read_td3(settings: Settings, states: _States) -> ForeignAgent:
    notes: list[str] = []
    arrays = _network("params.actor", states.params("actor_state"))
    arrays |= _network("targets.actor", states.params("actor_state", "target_params"))
    arrays |= _twins(_CRITICS, states.params("qf_state"))
    arrays |= _twins(("targets.critic.q1", "targets.critic.q2"), states.params("qf_state", "target_params"))
    arrays["updates"] = update_count(settings.get("_n_updates"))
    own = _off_policy(settings, notes, ("actor", "critic"))
    own |= {"policy_delay": settings.get("policy_delay"), "target_noise": settings.get("target_policy_noise")}
    own |= {"target_noise_clip": settings.get("target_noise_clip"), **action_noise(settings, notes)}
    return agent_of(settings, "td3", _LIBRARY, arrays, own, off_policy_training(settings, notes), notes)


def _read_dqn(settings: Settings, states: _States) -> ForeignAgent:
    notes = ["Its gradients were not limited; here they are (dqn.max_gradient_norm)."]
    arrays = _network("params.q", states.params("qf_state"))
    arrays |= _network("target", states.params("qf_state", "target_params"))
    arrays["updates"] = update_count(settings.get("_n_updates"))
    own, training = dqn_settings(settings, notes)
    return agent_of(settings, "dqn", _LIBRARY, arrays, own, training, notes)


def _read_ppo(settings: Settings, states: _States) -> ForeignAgent:
    notes: list[str] = []
    actor = states.params("actor_state")
    arrays = _network("params.actor", actor) | _network("params.critic", states.params("vf_state"))
    spaces = spaces_in(settings)
    if not spaces["discrete"]:
        arrays["log_std"] = Weights(actor).take("log_std").reshape(-1)
        to_unit_actions(arrays, spaces)
    own, training = ppo_settings(settings, notes)
    return agent_of(settings, "ppo", _LIBRARY, arrays, own, training, notes)


_READERS: Mapping[str, Callable[[Settings, _States], ForeignAgent]] = {
    "sac": _read_sac,
    "td3": _read_td3,
    "dqn": _read_dqn,
    "ppo": _read_ppo,
}
