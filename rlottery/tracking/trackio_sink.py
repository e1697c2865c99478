"""Trackio. Its library has one run at a time, so each batch of steps opens its run and closes it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trackio

from rlottery.config.tracking import TrackioSettings
from rlottery.tracking.steps import Step
from rlottery.tracking.tracked_run import TrackedRun


class TrackioSink:
    """Sends to Trackio (a `Sink`)."""

    def __init__(self, settings: TrackioSettings, folder: Path, study: str):
        self._project = settings.project or study
        self._space = settings.space
        self.destination: Mapping[str, Any] = {
            "project": self._project,
            "place": self._space
            or os.environ.get("TRACKIO_SPACE_ID")
            or os.environ.get("TRACKIO_SERVER_URL", "").partition("?")[0]
            or os.environ.get("TRACKIO_DIR"),
        }
        self._runs: dict[str, TrackedRun] = {}

    def begin(self, run: TrackedRun, key: str) -> int | None:
        self._runs[key] = run
        return None

    def log(self, key: str, steps: Sequence[Step]) -> None:
        run = self._runs[key]
        trackio.init(
            project=self._project,
            name=f"{run.name} {key}",
            group=run.group,
            space_id=self._space,
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        try:
            for step in steps:
                trackio.log(step.values, step=step.env_steps)
        finally:
            trackio.finish()

    def end(self, key: str, status: str, facts: Mapping[str, Any]) -> None:
        self._runs.pop(key)
