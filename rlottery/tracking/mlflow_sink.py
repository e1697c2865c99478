"""MLflow: a server, or a database file on this machine."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from rlottery.config.tracking import MlflowSettings
from rlottery.tracking.steps import Step
from rlottery.tracking.tracked_run import TrackedRun, flat

KEY = "rlottery.key"
"""The tag by which a run is found again."""
MOST_METRICS, MOST_PARAMS, MOST_TEXT = 1_000, 100, 500
"""The limits of MLflow's interface: metrics and parameters in a request, and characters of a parameter."""
_STATUS = {"done": "FINISHED", "interrupted": "KILLED"}
_T = TypeVar("_T")


class MlflowSink:
    """Sends to MLflow (a `Sink`)."""

    def __init__(self, settings: MlflowSettings, folder: Path, study: str):
        self._client = MlflowClient(tracking_uri=settings.uri)
        self._experiment = settings.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or study
        self.destination: Mapping[str, Any] = {
            "uri": settings.uri or os.environ.get("MLFLOW_TRACKING_URI"),
            "experiment": self._experiment,
        }
        self._runs: dict[str, str] = {}

    def begin(self, run: TrackedRun, key: str) -> int | None:
        experiment = self._client.get_experiment_by_name(self._experiment)
        place = experiment.experiment_id if experiment else self._client.create_experiment(self._experiment)
        found = self._client.search_runs([place], filter_string=f"tags.`{KEY}` = '{key}'", max_results=1)
        if found:
            self._runs[key] = found[0].info.run_id
            self._client.update_run(self._runs[key], status="RUNNING")
            return self._last_step(self._runs[key], found[0].data.metrics)
        tags = {KEY: key, "study": run.study, "task": run.task, "seed": str(run.seed), "arm": run.arm}
        made = self._client.create_run(place, run_name=run.name, tags=tags)
        self._runs[key] = made.info.run_id
        params = [Param(name, str(value)[:MOST_TEXT]) for name, value in flat(run.settings).items()]
        for batch in _batches(params, MOST_PARAMS):
            self._client.log_batch(self._runs[key], params=batch)
        return -1

    def log(self, key: str, steps: Sequence[Step]) -> None:
        now = round(1_000 * time.time())
        metrics: list[Metric] = []
        for step in steps:
            values = [Metric(name, value, now, step.env_steps) for name, value in step.values.items()]
            if len(metrics) + len(values) > MOST_METRICS:  # a step isn't divided between requests
                self._client.log_batch(self._runs[key], metrics=metrics)
                metrics = []
            metrics += values
        self._client.log_batch(self._runs[key], metrics=metrics)

    def end(self, key: str, status: str, facts: Mapping[str, Any]) -> None:
        run = self._runs.pop(key)
        tags = [RunTag(name, str(value)[:MOST_TEXT]) for name, value in flat(facts).items()]
        self._client.log_batch(run, tags=tags)
        self._client.set_terminated(run, status=_STATUS.get(status, "FAILED"))

    def _last_step(self, run: str, metrics: Iterable[str]) -> int:
        histories = (self._client.get_metric_history(run, name) for name in metrics)
        return max((entry.step for history in histories for entry in history), default=-1)


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
