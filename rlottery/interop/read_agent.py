"""Reads an agent of another tool from a file, whatever kind of file it is."""

import hashlib
import io
import pickletools
import zipfile
from collections import abc
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent
from rlottery.interop.inert_objects import UnreadableError
from rlottery.interop.library import ALLOW, Library
from rlottery.interop.mapping import Mapping
from rlottery.interop.replay import DAMAGED, read_normalisation
from rlottery.interop.sb3 import read_sb3
from rlottery.interop.sb3_archive import open_archive
from rlottery.interop.sbx import is_sbx, read_sbx
from rlottery.interop.torch_file import UnknownFileError
from rlottery.interop.weights_file import read_weights
from rlottery.safety.file_kind import file_kind
from rlottery.safety.regular_files import FileSizeError, read_bytes
from rlottery.safety.zip_files import checked_zip

MOST_BYTES = 2**32
"""The largest file that is read."""
_GIVE = (
    'what Stable-Baselines3 or SBX saved, model.save("agent.zip"); a model of CleanRL, agent.cleanrl_model; or weights '
    "of another library with --mapping (docs/import-libraries.md)."
)

_MAY_BE = (None, "a ZIP archive", "a pickle", "a file of safetensors")
"""The kinds of files that may have an agent. The oldest pickles seem to be text."""


@dataclass(frozen=True)
class AgentFile:
    """A file with an agent, and its SHA-256."""

    path: Path
    sha256: str
    agent: ForeignAgent


def read_agent(path: Path, mapping: Mapping | None = None, library: Library | None = None) -> AgentFile:
    """The agent in a file of Stable-Baselines3 or CleanRL, or in a file of weights.

    Args:
        mapping: which tensors of a file of weights are which layers.
        library: may execute settings of the agent that can't be read otherwise.

    Raises ForeignFileError if there is none that can be trained here.
    """
    try:
        data = read_bytes(path, MOST_BYTES)
    except (OSError, FileSizeError) as error:
        fix = f" Give {_GIVE}" if path.is_dir() else ""
        raise ForeignFileError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.{fix}") from None
    kind = file_kind(data)
    if kind == "a text file" and path.suffix == ".py":
        kind = "a Python script. Run it first; it has to save the agent"
    if kind not in _MAY_BE and not (data and _is_pickle(data)):
        raise ForeignFileError(f"{path} isn't an agent, but {kind}. Give {_GIVE}")
    try:
        if not _is_archive(data, path):
            agent = read_weights(path, data, mapping)
        elif mapping is None:
            agent = _of_archive(data, None if library is None else partial(library.settings, path))
        else:
            raise ForeignFileError(
                "it isn't a file of weights, or it is damaged. An agent of Stable-Baselines3 or SBX needs no mapping: "
                "leave out --mapping"
            )
        agent.hidden  # noqa: B018  # raises if networks differ
    except ForeignFileError as error:
        fix = f" {ALLOW}." if isinstance(error, UnreadableError) else ""
        if isinstance(error, UnknownFileError):
            fix = f"{' A replay buffer is given with --replay FILE.' if _is_pickle(data) else ''} Give {_GIVE}"
        raise ForeignFileError(f"{path} can't be imported: {str(error).rstrip('.')}.{fix}") from None
    except DAMAGED:
        raise ForeignFileError(f"{path} can't be imported: its settings or its weights are damaged.") from None
    return AgentFile(path, hashlib.sha256(data).hexdigest(), agent)


def _is_pickle(data: bytes) -> bool:
    """Whether a file is one pickle, of any protocol: that of 0 is ASCII. Nothing in it is executed."""
    end = -1
    try:
        for _, _, position in pickletools.genops(data) if data.endswith(b".") else ():
            end = position or 0
    except ValueError:
        return False
    return end == len(data) - 1


def _of_archive(
    data: bytes,
    execute: abc.Callable[[], abc.Mapping[str, Any]] | None,
    reconstructed: abc.Mapping[str, np.ndarray] | None = None,
) -> ForeignAgent:
    """The agent in an archive of Stable-Baselines3 or SBX, or another one with its settings."""
    settings, files = open_archive(data, execute)
    return read_sbx(settings, reconstructed) if is_sbx(settings) else read_sb3(settings, files, reconstructed)


def with_weights(file: AgentFile, weights: abc.Mapping[str, np.ndarray], library: Library) -> ForeignAgent:
    """The agent that has the settings of one in an archive, and other weights (`Library.initial`).

    Raises ForeignFileError if there are none for one of its networks, or more.
    """
    data = read_bytes(file.path, MOST_BYTES)
    try:
        return _of_archive(data, partial(library.settings, file.path), weights)
    except DAMAGED as error:
        raise ForeignFileError(f"they can't be read: {error}") from None


def _is_archive(data: bytes, path: Path) -> bool:
    """Whether a file is an archive that isn't one of PyTorch alone. Damaged archives count as one of SB3 too."""
    try:
        with checked_zip(io.BytesIO(data), MOST_BYTES) as archive:
            return not any(name.endswith("/data.pkl") for name in archive.namelist())
    except (ValueError, zipfile.BadZipFile):
        return data.startswith(b"PK") or path.suffix == ".zip"


def normalised(file: AgentFile, path: Path) -> AgentFile:
    """An agent of PPO with the running statistics that its observations and rewards were normalised with.

    Raises ForeignFileError: the file has none, or the agent is one of another algorithm.
    """
    agent = file.agent
    if agent.algorithm != "ppo":
        raise ForeignFileError(f"{path}: only agents of PPO can normalise observations here, not {agent.algorithm}.")
    found = read_normalisation(path, agent.observation_size)
    arrays = dict(agent.arrays)
    for place, statistics in (("observations", found.observations), ("returns", found.returns)):
        arrays |= {f"{place}.{name}": array for name, array in (statistics or {}).items()}
    switches = {
        "normalize_observations": found.observations is not None,
        "normalize_rewards": found.returns is not None,
    }
    own = {**agent.settings["ppo"], **switches}
    return replace(file, agent=replace(agent, arrays=arrays, settings={**agent.settings, "ppo": own}))
