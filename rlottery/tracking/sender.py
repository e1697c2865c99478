"""Sends what is new of a run's metrics to a tracker. It may be called any number of times, by any process.

`metrics.jsonl` is the truth. Next to it is a record of how far it was sent, and each step is sent once. The record is
written before a step is sent: a process that is killed in between may lose a step at trackers that can't say what they
have, and never sends one twice.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rlottery.config import TrackerName
from rlottery.storage.locks import one_at_a_time
from rlottery.storage.manifests import DamagedError, Manifest, read_manifest
from rlottery.tracking.record import Sent, read_sent, record_path, write_sent
from rlottery.tracking.sinks import Sink
from rlottery.tracking.steps import Step, StepReader
from rlottery.tracking.tracked_run import TrackedRun

BATCH = 200
"""The most steps that are sent together."""


class Sender:
    """Sends runs to one tracker.

    Attributes:
        sent: the number of steps that were sent.
    """

    def __init__(self, tracker: TrackerName, sink: Sink):
        self._tracker, self._sink, self.sent = tracker, sink, 0
        self._readers: dict[str, StepReader] = {}
        self._open: dict[str, TrackedRun] = {}

    def send(self, run: TrackedRun) -> bool:
        """Send what is new of a run. Returns whether the run is done, and all of it was sent.

        Raises whatever the tracker's library does; and OSError or ValueError if the run's files can't be read.
        """
        if not run.files.metrics.exists():
            return False
        path = record_path(run.files, self._tracker, self._sink.destination)
        with one_at_a_time(path.with_suffix(".lock")):
            sent = read_sent(path, run)
            manifest = _manifest(run)
            status = manifest["status"] if manifest else ""
            is_done = status in ("done", "diverged")
            if sent.ended and is_done:
                return True
            steps = self._new_steps(run, sent.step, is_done=is_done)
            while batch := list(islice(steps, BATCH)):
                recorded, sent = sent, self._begin(path, run, sent)
                if sent.step < recorded.step:  # the tracker has lost some
                    del self._readers[run.folder]
                    steps = self._new_steps(run, sent.step, is_done=is_done)
                else:
                    sent = self._log(path, run, sent, [step for step in batch if step.env_steps > sent.step])
            if is_done:
                sent = self._begin(path, run, sent)
                self._end(sent.key, status, _facts(manifest))
                write_sent(path, run, sent._replace(ended=True))
            elif status:
                self._end(sent.key, status, _facts(manifest))
            return is_done

    def close(self) -> None:
        """Stop working on the runs that have not ended."""
        for key in list(self._open):
            self._end(key, "interrupted", {})

    def _new_steps(self, run: TrackedRun, after: int, *, is_done: bool) -> Iterator[Step]:
        return self._readers.setdefault(run.folder, StepReader(run.files.metrics)).read(after, is_done=is_done)

    def _begin(self, path: Path, run: TrackedRun, sent: Sent) -> Sent:
        """Begin or continue the run at the tracker, if it isn't open. Returns how far it was sent."""
        if sent.key in self._open:
            return sent
        write_sent(path, run, sent)
        last = self._sink.begin(run, sent.key)
        self._open[sent.key] = run
        return sent if last is None else sent._replace(step=last)

    def _log(self, path: Path, run: TrackedRun, sent: Sent, steps: Sequence[Step]) -> Sent:
        if not steps:
            return sent
        write_sent(path, run, now := sent._replace(step=steps[-1].env_steps))
        try:
            self._sink.log(sent.key, steps)
        except BaseException:
            write_sent(path, run, sent)
            raise
        self.sent += len(steps)
        return now

    def _end(self, key: str, status: str, facts: Mapping[str, Any]) -> None:
        run = self._open.pop(key, None)
        if run is not None:
            self._readers.pop(run.folder, None)
            self._sink.end(key, status, facts)


def _manifest(run: TrackedRun) -> Manifest | None:
    with contextlib.suppress(DamagedError):
        return read_manifest(run.files)
    return None


def _facts(manifest: Manifest | None) -> dict[str, Any]:
    """What trackers show of a run that has ended."""
    if manifest is None:
        return {}
    facts: dict[str, Any] = {"status": manifest["status"]}
    for name in ("seconds", "sparsity", "effective"):
        if name in manifest:
            facts[name] = manifest[name]
    return facts
