"""Loads files with the library that wrote them, in a Python that has it. This executes what is pickled in them.

    python -I in_library.py WHAT FILE RESULT [ALGORITHM]

`rlottery.interop.library` starts it, when the user has allowed it. It runs in another environment, so it imports
nothing of rlottery, and what it finds goes into RESULT, an .npz file without pickles. If it fails, the last line on
stderr says why.

WHAT is one of:
    replay    the arrays of a replay buffer, and its scalars
    settings  the objects in an agent's settings, as far as they are plain, as JSON
    initial   the weights that the library gives a new agent with the seed and the settings of the one in FILE, and the
              versions of its packages as JSON
"""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import os
import pickle
import sys
import threading
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

FIELDS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
SCALARS = ("buffer_size", "pos", "full", "optimize_memory_usage", "handle_timeout_termination")
OTHERS = ("DictReplayBuffer", "HerReplayBuffer", "RolloutBuffer")
PROGRESS = (1.0, 0.7, 0.5, 0.3, 0.0)
"""Where a schedule is evaluated. If it is the same everywhere, it counts as constant."""


def replay(file: str) -> Arrays:
    with Path(file).open("rb") as stream:
        found = pickle.load(stream)
    kinds = [kind.__name__ for kind in type(found).__mro__]
    if "ReplayBuffer" not in kinds or any(kind in OTHERS for kind in kinds):
        raise SystemExit(f"it holds a {kinds[0]}, and a ReplayBuffer of flat observations is needed")
    arrays = {name: np.asarray(getattr(found, name)) for name in FIELDS if getattr(found, name, None) is not None}
    return arrays | {name: np.asarray(getattr(found, name)) for name in SCALARS if hasattr(found, name)}


def settings(file: str) -> Arrays:
    import cloudpickle  # the library's own

    with zipfile.ZipFile(file) as archive:
        values = json.loads(archive.read("data"))
    found = {}
    for name, value in values.items():
        if name == "policy" or not isinstance(value, dict) or ":serialized:" not in value:
            continue
        try:
            found[name] = described(cloudpickle.loads(base64.b64decode(value[":serialized:"])))
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return {"settings": np.array(json.dumps(found))}


def described(value: Any, depth: int = 0) -> dict[str, Any]:
    """A plain value, the name of a class, or the number that a schedule always returns."""
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if isinstance(value, type):
        return {"class": [value.__module__, value.__qualname__]}
    if isinstance(value, dict) and depth < 5:
        return {"dict": {str(key): described(of, depth + 1) for key, of in value.items()}}
    if isinstance(value, (list, tuple)) and depth < 5:
        return {"list": [described(of, depth + 1) for of in value]}
    if callable(value) and not inspect.ismodule(value):
        try:
            numbers = {float(value(progress)) for progress in PROGRESS}
        except Exception:
            numbers = set()
        if len(numbers) == 1:
            return {"value": numbers.pop()}
    return {"error": f"it is a {type(value).__name__}"}


def initial(file: str, algorithm: str) -> Arrays:
    from stable_baselines3.common.base_class import _convert_space
    from stable_baselines3.common.save_util import load_from_zip_file

    data, _, _ = load_from_zip_file(file, device="cpu", custom_objects={"policy": None, "_last_obs": None})
    library = data["policy_class"].__module__.partition(".")[0]
    for space in ("observation_space", "action_space"):
        data[space] = _convert_space(data[space])
    data["policy_kwargs"].pop("device", None)
    # A buffer as small as can be: it draws no random numbers.
    data.update(buffer_size=1, replay_buffer_class=None, replay_buffer_kwargs={}, optimize_memory_usage=False)
    kind = getattr(importlib.import_module(library), algorithm)
    model = kind(policy=data["policy_class"], env=None, device="cpu", _init_setup_model=False)
    model.__dict__.update(data)
    # As in the constructor: it seeds all generators, and makes the networks next.
    model._setup_model()
    weights = weights_of_sbx(model) if library == "sbx" else weights_of_sb3(model)
    return {**weights, "versions": np.array(json.dumps(versions(library)))}


def weights_of_sb3(model: Any) -> Arrays:
    arrays = {"policy.pth/" + name: of.detach().cpu().numpy() for name, of in model.policy.state_dict().items()}
    if getattr(model, "log_ent_coef", None) is not None:
        arrays["pytorch_variables.pth/log_ent_coef"] = model.log_ent_coef.detach().cpu().numpy()
    return arrays


def weights_of_sbx(model: Any) -> Arrays:
    """Flax's arrays by their paths: ``qf_state/target_params/params.Dense_0.kernel``."""
    states = {name: getattr(model.policy, name, None) for name in ("actor_state", "qf_state", "vf_state")}
    states["ent_coef_state"] = getattr(model, "ent_coef_state", None)
    arrays: Arrays = {}
    for name, state in states.items():
        for attribute in ("params", "target_params"):
            inner = leaves(getattr(state, attribute, {}))
            arrays |= {f"{name}/{attribute}/{path}": array for path, array in inner.items()}
    return arrays


def leaves(tree: Any) -> Arrays:
    """The arrays in dicts in each other, by their keys joined with dots."""
    found: Arrays = {}
    for key, value in tree.items():
        inner = {f"{key}.{path}": of for path, of in leaves(value).items()} if hasattr(value, "items") else None
        found |= {key: np.asarray(value)} if inner is None else inner
    return found


def versions(library: str) -> dict[str, str]:
    names = {"sbx": ("sbx", "jax", "flax")}.get(library, ("stable_baselines3", "torch"))
    return {name.replace("_", "-"): str(importlib.import_module(name).__version__) for name in names}


def end_without(parent: int) -> None:
    """End this process once the one that started it has died."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_without, args=[os.getppid()], daemon=True).start()
    warnings.simplefilter("ignore")
    what, path, result = sys.argv[1:4]
    functions: dict[str, Any] = {"replay": replay, "settings": settings, "initial": initial}
    np.savez(result, **functions[what](path, *sys.argv[4:]))
