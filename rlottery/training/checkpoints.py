"""Checkpoints: the state of training between two steps, on disk. An interrupted run continues with the same bits.

checkpoint/
  step_000012000.json                       written last: small values, and the checksums of the other files
  step_000012000.safetensors                the agent: weights, targets, optimiser, masks, random key
  open_000012000.safetensors                with several environments: actions and newest observations of open episodes
  replay_000000000_000006000.safetensors    transitions 0 to 5,999 of the run; each is written once

The last two checkpoints are kept, so that damage to the newest agent or JSON costs one interval and not the run. Both
use the same pieces of replay. Environments are not saved: an episode depends only on the seed of its reset and on its
actions. Open ones are played again (`open_episodes`).
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.agents.base import from_arrays, to_arrays
from rlottery.errors import StudyError
from rlottery.storage import checkpoint_record as records
from rlottery.storage import manifests
from rlottery.storage.checkpoint_record import (
    SavedOpenEpisode,
    agent_name,
    open_name,
    record_path,
    record_paths,
    segment_name,
)
from rlottery.storage.disk import read_arrays, write_arrays
from rlottery.storage.fence import check_fence
from rlottery.storage.manifests import DamagedError, FileEntry, Session
from rlottery.storage.metrics_log import Position
from rlottery.storage.paths import RunFiles
from rlottery.storage.syncing import writing
from rlottery.storage.transitions import Transitions
from rlottery.training.loop import Loop
from rlottery.training.meters import EpisodeMeter, LossMeter
from rlottery.training.open_episodes import OpenEpisode

_GENERATORS = ("minibatches", "exploration")


@dataclass
class WorkSessions:
    """A run's sessions: each is a process's stretch of work on the run.

    Attributes:
        past: the sessions that left a checkpoint, and the current one.
        seconds: seconds of work before the current session.
        began: when the current session began, by the monotonic clock, which doesn't jump.
        written, cost: number of checkpoints written, and the seconds that took.
    """

    past: list[Session]
    seconds: float = 0.0
    began: float = 0.0
    written: int = 0
    cost: float = 0.0

    def worked(self) -> float:
        """Seconds of work, including the current session."""
        return self.seconds + time.monotonic() - self.began


class Checkpoints:
    """Writes and restores the checkpoints of one run.

    Args:
        files: the run's files; the caller holds their lock.
        fingerprint: what the run is made from. A checkpoint with another fingerprint is an error.
        interval: seconds of work that an interruption may cost.
        versions: what this session works with.

    Attributes:
        points: manifest entries of the rewind points saved so far; part of each checkpoint.
        sessions: the run's sessions.
    """

    def __init__(self, files: RunFiles, fingerprint: dict[str, Any], interval: float, versions: dict[str, str]):
        self._files, self._fingerprint, self._interval, self._versions = files, fingerprint, interval, versions
        self._segments: list[tuple[int, int]] = []
        self._entries: dict[str, FileEntry] = {}
        self.points: dict[str, FileEntry] = {}
        self._saved_at = self._wait_began = time.monotonic()
        self._longest_wait = 0.0
        self.sessions = WorkSessions([self._session(0)], began=time.monotonic())

    def restore(self, loop: Loop) -> Position | None:
        """Set a fresh `loop` to the newest intact checkpoint.

        Returns:
            the position in the metrics at that time; None if there is no intact checkpoint and `loop` is unchanged.

        Raises:
            StudyError: the checkpoint is of another config.
        """
        notes: list[str] = []
        for path in reversed(record_paths(self._files)):
            try:
                record = records.read_checkpoint_record(path)
                if differences := manifests.list_differences(self._fingerprint, record["fingerprint"]):
                    raise records.other_config_error(self._files, differences)
                for damaged in records.checkpoint_damage(self._files, record):
                    raise damaged
                position = self._load(path, record, loop)
            except DamagedError as error:
                file = "" if error.file == path else f"{error.file.name}: "
                notes.append(f"{path.name}: {file}{error.why}")
                continue
            self._segments, self._entries = list(record["segments"]), dict(record["files"])
            self.points = dict(record.get("points", {}))
            past = [*record["sittings"], self._session(record["env_steps"], notes)]
            self.sessions = WorkSessions(past, record["seconds"], time.monotonic(), record["written"], record["cost"])
            return position
        self.sessions.past[-1]["notes"] += notes
        return None

    def due(self) -> bool:
        """Whether to save now: waiting for the next point at which training can be saved could exceed the interval."""
        now = time.monotonic()
        self._longest_wait = max(self._longest_wait, now - self._wait_began)
        self._wait_began = now
        return now - self._saved_at + self._longest_wait > self._interval

    def save(self, loop: Loop, position: Position) -> None:
        """Write a checkpoint of `loop`. The second to last one is removed when this one would survive a crash."""
        began = time.monotonic()
        added, capacity = loop.replay.added, loop.replay.capacity
        start = max(self._segments[-1][1] if self._segments else 0, added - capacity)
        most = max(1, records.PIECE_BYTES // loop.replay.row_bytes)
        for segment in ((begin, min(begin + most, added)) for begin in range(start, added, most)):
            self._segments.append(segment)
            self._write(segment_name(*segment), loop.replay.between(*segment).fields)
        self._segments = [segment for segment in self._segments if segment[1] > added - capacity]
        agent = agent_name(loop.env_steps)
        self._write(agent, to_arrays(loop.learner.state))
        named = [agent, *(segment_name(*segment) for segment in self._segments)]
        if open_episodes := _open_episodes(loop):
            self._write(open_name(loop.env_steps), _open_arrays(loop))
            named.append(open_name(loop.env_steps))
        self._entries = {name: self._entries[name] for name in named}
        sessions = self.sessions
        record: records.CheckpointRecord = {
            "format_version": manifests.MANIFEST_FORMAT,
            "fingerprint": self._fingerprint,
            "env_steps": loop.env_steps,
            "episodes": loop.episodes,
            "files": self._entries,
            "segments": self._segments,
            "generators": {name: getattr(loop, name).bit_generator.state for name in _GENERATORS},
            "losses": loop.losses.save(),
            "episode": loop.episode.save(),
            "metrics": (position.bytes, position.sha256),
            "points": self.points,
            "seconds": sessions.worked(),
            "sittings": sessions.past,
            "written": sessions.written + 1,
            "cost": sessions.cost + time.monotonic() - began,
        }
        if open_episodes:
            record["open"] = open_episodes
        manifests.write_sealed(record_path(self._files, loop.env_steps), record)
        self._prune(loop)
        self._saved_at = self._wait_began = time.monotonic()
        sessions.written, sessions.cost = sessions.written + 1, sessions.cost + self._saved_at - began

    def remove(self) -> None:
        """Remove all checkpoints of a finished run."""
        shutil.rmtree(self._files.checkpoint, ignore_errors=True)

    @property
    def notes(self) -> list[str]:
        """Descriptions of the damaged checkpoints that `restore` skipped."""
        return self.sessions.past[-1]["notes"]

    def _session(self, env_steps: int, notes: Sequence[str] = ()) -> Session:
        return {"started": time.time(), "env_steps": env_steps, "notes": list(notes), "versions": self._versions}

    def _write(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        path = self._files.checkpoint / name
        write_arrays(path, arrays)
        self._entries[name] = manifests.file_entry(path)

    def _load(self, path: Path, record: records.CheckpointRecord, loop: Loop) -> Position:
        """Set `loop` to a checkpoint. Leaves it unchanged if the checkpoint is intact but no state of this run."""
        folder, added = self._files.checkpoint, record["env_steps"]
        try:
            needed = {agent_name(added), *(segment_name(*segment) for segment in record["segments"])}
            needed |= {open_name(added)} if "open" in record else set()
            if needed != record["files"].keys():
                raise ValueError("it lists other files than it needs")
            arrays = read_arrays(folder / open_name(added)) if "open" in record else {}
            open_episodes = _restored(record.get("open", []), arrays, loop)
            state = from_arrays(loop.learner.state, read_arrays(folder / agent_name(added)))
            generators = {name: _generator(record["generators"][name]) for name in _GENERATORS}
            losses, episode = LossMeter.restore(record["losses"]), EpisodeMeter.restore(record["episode"])
            loop.replay.added += record["segments"][0][0]
            for start, stop in record["segments"]:
                arrays = read_arrays(folder / segment_name(start, stop))
                if loop.replay.added != start or len(arrays["rewards"]) != stop - start:
                    raise ValueError("its replay has gaps")
                loop.replay.extend(Transitions(**arrays))
            if loop.replay.added != added:
                raise ValueError("its replay ends at another step")
        except (StudyError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            loop.replay.added = 0
            raise DamagedError(path, str(error)) from None
        loop.learner.state, loop.env_steps, loop.episodes = state, added, record["episodes"]
        loop.minibatches, loop.exploration = generators["minibatches"], generators["exploration"]
        loop.losses, loop.episode, loop.open = losses, episode, open_episodes
        return Position(*record["metrics"])

    def _prune(self, loop: Loop) -> None:
        """Remove all but the last checkpoints, and the files that none of them lists.

        Checkpoints of later steps than the one just saved are removed too: they were damaged, and skipped.
        """
        folder, saved = self._files.checkpoint, record_path(self._files, loop.env_steps)
        paths = [path for path in record_paths(self._files) if path <= saved]
        named: set[str] = set()
        for path in paths[-records.KEPT :]:
            try:
                named |= {path.name, *records.read_checkpoint_record(path)["files"]}
            except StudyError:  # damaged by now: its files are not kept
                named.add(path.name)
        with writing(folder):
            check_fence()
            for path in folder.iterdir():
                if path.name not in named:
                    path.unlink()


def _open_episodes(loop: Loop) -> list[SavedOpenEpisode]:
    return [{"environment": i, "number": one.number} for i, one in enumerate(loop.open) if one is not None]


def _open_arrays(loop: Loop) -> dict[str, np.ndarray]:
    """The actions (steps, act) and the newest observation (obs,) of each open episode, by its environment."""
    arrays: dict[str, np.ndarray] = {}
    for index, episode in enumerate(loop.open):
        if episode is not None:
            arrays |= {f"{index}.actions": np.stack(episode.actions), f"{index}.observation": episode.observation}
    return arrays


def _restored(
    saved: Sequence[SavedOpenEpisode], arrays: Mapping[str, np.ndarray], loop: Loop
) -> list[OpenEpisode | None]:
    """The open episodes of a checkpoint by environment. Raises ValueError or KeyError if they don't fit the run."""
    found: list[OpenEpisode | None] = [None] * len(loop.open)
    for one in saved:
        actions, observation = (arrays[f"{one['environment']}.{name}"] for name in ("actions", "observation"))
        if actions.shape[1:] != (loop.spec.action_size,) or observation.shape != (loop.spec.observation_size,):
            raise ValueError("its open episodes are of another task")
        found[one["environment"]] = OpenEpisode(one["number"], observation, list(actions))
    return found


def _generator(state: Mapping[str, Any]) -> np.random.Generator:
    generator = np.random.default_rng()
    generator.bit_generator.state = state
    return generator
