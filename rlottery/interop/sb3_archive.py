"""Opens archives of Stable-Baselines3 (``model.save``) and SBX: their settings, spaces and files.

The file is a ZIP archive: ``data`` holds settings as JSON, with pickles in it, and ``*.pth`` the weights and optimisers
(https://stable-baselines3.readthedocs.io/en/master/guide/save_format.html).
"""

import base64
import binascii
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.inert_objects import InertReader, Record, UnreadableError
from rlottery.interop.library import LibraryError
from rlottery.safety.pickle_machine import Name
from rlottery.safety.zip_files import checked_zip, read_entry
from rlottery.storage.disk import most_values

MOST_BYTES = 2**32
MODULES = ("stable_baselines3", "sb3_contrib", "sbx", "gymnasium", "gym", "numpy", "torch", "collections")
"""The packages that objects in these files belong to."""

SAVE = 'Give what Stable-Baselines3 or SBX saved: model.save("agent.zip")'
_MOST_VALUES = 1_000_000
OTHERS = {
    "TQCPolicy": "TQC",
    "QRDQNPolicy": "QR-DQN",
    "CrossQPolicy": "CrossQ",
    "MaskableActorCriticPolicy": "MaskablePPO",
    "RecurrentActorCriticPolicy": "RecurrentPPO",
    "ARSPolicy": "ARS",
}
"""Algorithms of SB3-Contrib by their policies. None of them is one that can be trained here."""
ONLY = "Agents of SAC, TD3, DQN and PPO can be imported."


class Settings:
    """The settings in ``data``, where objects are read when they are asked for.

    Args:
        execute: describes all objects as `rlottery.interop.in_library` does, by executing them. It is called if one
            can't be read otherwise. None: that isn't allowed.
    """

    def __init__(self, values: Mapping[str, Any], execute: Callable[[], Mapping[str, Any]] | None = None):
        self._values, self._execute = values, execute
        self._executed: Mapping[str, Any] | None = None

    @property
    def may_execute(self) -> bool:
        """Whether objects that can't be read otherwise may be executed."""
        return self._execute is not None

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
        except UnreadableError as error:
            if self._execute is None:
                raise UnreadableError(f"its setting {name} can't be read: {error}") from None
            if self._executed is None:
                self._executed = self._execute()
            return _plain(self._executed.get(name), name)
        except ForeignFileError as error:
            raise ForeignFileError(f"its setting {name} can't be read: {error}") from None

    def readable(self, name: str) -> Any:
        """A setting, or None if it is an object that can't be read, such as a function. May raise LibraryError."""
        try:
            return self.get(name)
        except LibraryError:  # it was allowed to read it, so it has to
            raise
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


def _plain(described: Any, name: str) -> Any:
    """A value that `rlottery.interop.in_library` has described. Raises ForeignFileError if it is no plain one."""
    match described:
        case {"value": None | bool() | int() | float() | str() as value}:
            return value
        case {"class": [str() as module, str() as own]}:
            return Name(module, own)
        case {"list": list() as parts}:
            return [_plain(part, name) for part in parts]
        case {"dict": dict() as parts}:
            return {str(key): _plain(part, name) for key, part in parts.items()}
        case {"error": str() as why}:
            raise ForeignFileError(f"its setting {name} can't be used: {why[:200]}")
    raise ForeignFileError(f"its setting {name} can't be used")


def open_archive(
    data: bytes, execute: Callable[[], Mapping[str, Any]] | None = None
) -> tuple[Settings, dict[str, bytes]]:
    """The settings and the files in an archive of `model.save`. Raises ForeignFileError if it is none.

    Args:
        execute: as of `Settings`.
    """
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
    return Settings(values, execute), files


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
