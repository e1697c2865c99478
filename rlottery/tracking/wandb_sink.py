"""Weights & Biases. In offline mode, each session writes a folder of its own, and `wandb sync` sends them in order."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from rlottery.config.tracking import WandbSettings
from rlottery.tracking.steps import Step
from rlottery.tracking.tracked_run import TrackedRun


class WandbSink:
    """Sends to Weights & Biases (a `Sink`). Several runs are open at the same time."""

    def __init__(self, settings: WandbSettings, folder: Path, study: str):
        self._folder, self._tags = folder, settings.tags
        self._mode = settings.mode or os.environ.get("WANDB_MODE") or "online"
        self._place = {
            "project": settings.project or os.environ.get("WANDB_PROJECT") or study,
            "entity": settings.entity or os.environ.get("WANDB_ENTITY") or None,
        }
        self.destination: Mapping[str, Any] = self._place | {"server": os.environ.get("WANDB_BASE_URL")}
        self._runs: dict[str, Any] = {}

    def begin(self, run: TrackedRun, key: str) -> int | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        made = wandb.init(
            **self._place,
            id=key,
            name=run.name,
            group=run.group,
            job_type=run.arm,
            tags=[*self._tags],
            config=dict(run.settings),
            dir=str(self._folder),
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",
            # Statistics of a machine are not those of the process that trains.
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, save_code=False),
        )
        self._runs[key] = made
        return made.step - 1 if self._mode == "online" else None

    def log(self, key: str, steps: Sequence[Step]) -> None:
        for step in steps:
            self._runs[key].log(step.values, step=step.env_steps)

    def end(self, key: str, status: str, facts: Mapping[str, Any]) -> None:
        run = self._runs.pop(key)
        run.summary.update(facts)
        if status == "interrupted":
            run.mark_preempting()
        run.finish(exit_code=0 if status == "done" else 1)


def is_logged_in(mode: str | None) -> bool:
    """Whether Weights & Biases has a key for this user, or needs none. Asks nobody, here or elsewhere."""
    mode = mode or os.environ.get("WANDB_MODE") or "online"
    return mode != "online" or bool(wandb.login(prompt=False, verify=False))
