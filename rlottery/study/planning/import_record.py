"""What a manifest records about an imported agent, and whether a study has that agent already.

Agents, initial weights and replays are identified by checksums of what they contain: libraries write the same agent
with other bytes each time. Versions before these recorded only checksums of files.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlottery.activations import DEFAULT_ACTIVATION
from rlottery.errors import StudyError
from rlottery.interop.agent import ForeignAgent
from rlottery.interop.read_agent import AgentFile
from rlottery.interop.reconstruction import Reconstruction
from rlottery.interop.replay import ForeignReplay
from rlottery.storage.disk import file_digest, read_arrays
from rlottery.storage.manifests import (
    DamagedError,
    Imported,
    Manifest,
    SourceFile,
    find_damage,
    read_imported,
    read_manifest,
)
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.finished_runs import check_same_study
from rlottery.study.planning.import_request import Request
from rlottery.study.planning.jobs import Job


def record_of(
    request: Request,
    file: AgentFile,
    initial: AgentFile | None,
    made: Reconstruction | None,
    replay: ForeignReplay | None,
    notes: list[str],
) -> Imported:
    """What the manifest records.

    Args:
        made: the initial weights that the agent's library has made again.
        notes: about the study, besides those about the agent and the replay.
    """
    imported: Imported = {
        "agent": SourceFile(file=file.path.name, sha256=file.sha256, content=_digest_of_agent(file.agent)),
        "library": file.agent.library,
        "notes": [*file.agent.notes, *(replay.notes if replay else ()), *notes],
    }
    if initial is not None:
        imported["initial"] = SourceFile(
            file=initial.path.name, sha256=initial.sha256, content=_digest_of_weights(initial.agent)
        )
    elif made is not None:
        content = _digest_of_weights(made.agent)
        imported["initial"] = SourceFile(file=f"seed {made.seed}", sha256=content, content=content)
    if made is not None:
        imported["reconstructed"] = {"seed": made.seed, "by": made.by, "correlation": round(made.correlation, 4)}
    if replay is not None and request.replay is not None:
        content = _digest_of_transitions(replay.transitions)
        dataset = request.dataset is not None
        imported["replay"] = SourceFile(
            file=str(request.replay) if dataset else request.replay.name,
            sha256=content if dataset else file_digest(request.replay),
            content=content,
        )
    if request.collect:
        imported["collected"] = request.collect
    return imported


def _digest(arrays: Mapping[str, np.ndarray], more: Any = None) -> str:
    """The SHA-256 of arrays by name, with their shapes, and of values of JSON types."""
    sha = hashlib.sha256(json.dumps(more, sort_keys=True, default=str).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _digest_of_agent(agent: ForeignAgent) -> str:
    bounds = [None if of is None else of.tolist() for of in (agent.action_low, agent.action_high)]
    more = [] if agent.activation == DEFAULT_ACTIVATION else [agent.activation]
    return _digest(agent.arrays, [agent.algorithm, agent.settings, agent.env_steps, agent.seed, bounds, *more])


def _digest_of_weights(agent: ForeignAgent) -> str:
    return _digest({name: of for name, of in agent.arrays.items() if name.startswith("params.") or name == "log_std"})


def _digest_of_transitions(transitions: Transitions) -> str:
    sha = hashlib.sha256()
    for array in transitions.fields.values():
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def existing_run(job: Job, imported: Imported, agent: ForeignAgent, initial: ForeignAgent | None) -> Manifest | None:
    """The manifest of the same run, if it is there and intact.

    Args:
        initial: the agent before training; None if it isn't known.

    Raises StudyError if the folder has another run, one with other data, or one that isn't finished.
    """
    files = job.files
    other = f"Choose another seed or folder: --seed N, --to FOLDER. Or delete {files.folder}."
    why = "it is missing"
    try:
        manifest = read_manifest(files)
    except DamagedError as error:
        manifest, why = None, error.why
    if manifest is None and (files.manifest.exists() or files.imported.exists()):
        if _has_arrays(files, agent) and _has_initial(files, initial or agent):
            _check_data_stay(files, imported, read_imported(files))
            return None  # it is written again
        raise StudyError(
            f"{files.manifest} is damaged: {why}. The run's arrays aren't those of this agent and its initial "
            f"weights, so it can't be repaired from them. {other}"
        )
    if manifest is None:
        if files.folder.exists() and any(files.folder.iterdir()):
            raise StudyError(f"{files.folder} has a run that isn't finished. {other}")
        return None
    check_same_study(files, manifest, dense_fingerprint(job.config, job.task, job.seed))
    before = manifest.get("imported")
    if before is None:
        raise StudyError(f"{files.folder} has a dense agent that was trained here. {other}")
    if not _is_same_agent(files, before, imported, agent):
        raise StudyError(f"{files.folder} has another agent, imported from {before['agent']['file']}. {other}")
    if not _is_same(before.get("initial"), imported.get("initial")):
        raise StudyError(f"{files.folder} has this agent with other initial weights. {other}")
    if find_damage(files.folder, manifest["files"]):
        _check_data_stay(files, imported, before)
        return None
    if before["agent"].get("content") != imported["agent"].get("content") and not _has_arrays(files, agent):
        raise StudyError(f"{files.folder} has this agent with other statistics (--normalisation). {other}")
    gets_data = "replay" in imported or "collected" in imported
    same_data = _is_same(before.get("replay"), imported.get("replay")) and (
        before.get("collected") == imported.get("collected")
    )
    if manifest.get("replay") == "saved" and gets_data and not same_data:
        raise StudyError(f"{files.folder} has this agent with other data for criteria. {other}")
    return manifest


def _check_data_stay(files: RunFiles, imported: Imported, before: Imported | None) -> None:
    """Raise StudyError if the run has data for criteria, and an import that replaces its files brings none."""
    if "replay" in imported or "collected" in imported or not files.replay.exists():
        return
    flag = "--replay FILE or --collect N"
    if before is not None and "collected" in before:
        flag = f"--collect {before['collected']}"
    elif before is not None and "replay" in before:
        flag = f"--replay {before['replay']['file']}"
    raise StudyError(
        f"{files.replay} has the run's data for criteria, and to repair the run without them would delete them. Give "
        f"them as before: {flag}. Or delete {files.replay}."
    )


def check_is_new_to_study(job: Job, imported: Imported, agent: ForeignAgent) -> None:
    """Raise StudyError if another run of the study has the same agent: seeds would not be independent."""
    for path in sorted(Store(job.config.data).runs.glob("*/seed_*/dense")):
        files = RunFiles(path)
        if path == job.files.folder:
            continue
        before = read_imported(files)
        if before is None:  # an earlier version of rlottery imported it, or it was trained here
            manifest = read_manifest(files)
            before = manifest.get("imported") if manifest is not None else None
        if before is not None and _is_same_agent(files, before, imported, agent):
            raise StudyError(
                f"{path} has this agent already, and it would count twice. Each seed needs an agent of its own: import "
                "one that was trained with another seed, or delete that folder."
            )


def _is_same(before: SourceFile | None, now: SourceFile | None) -> bool:
    if before is None or now is None:
        return before is now
    return before["sha256"] == now["sha256"] or before.get("content", "") == now.get("content")


def _is_same_agent(files: RunFiles, before: Imported, now: Imported, agent: ForeignAgent) -> bool:
    """Whether a run has this agent. Where no checksum of its content was recorded, the run's own arrays tell."""
    if _is_same(before["agent"], now["agent"]) or "content" in before["agent"]:
        return _is_same(before["agent"], now["agent"])
    return _has_arrays(files, agent)


def _has_initial(files: RunFiles, agent: ForeignAgent) -> bool:
    """Whether a run's initial weights are those of an agent."""
    try:
        stored = read_arrays(files.initial)
    except StudyError:
        return False
    given = {f"params.{name}": array for name, array in stored.items()}
    return all(name in agent.arrays and np.array_equal(array, agent.arrays[name]) for name, array in given.items())


def _has_arrays(files: RunFiles, agent: ForeignAgent) -> bool:
    try:
        stored = read_arrays(files.agent)
    except StudyError:
        return False
    return all(
        name in stored and np.array_equal(stored[name], np.asarray(array, stored[name].dtype))
        for name, array in agent.arrays.items()
    )
