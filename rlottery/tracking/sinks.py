"""The trackers: what each has to do, and which library it needs."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rlottery.config import TrackerName, TrackerSettings
from rlottery.errors import RlotteryError, install_extra
from rlottery.tracking.steps import Step
from rlottery.tracking.tracked_run import TrackedRun

_SINKS: dict[TrackerName, str] = {
    "wandb": "rlottery.tracking.wandb_sink:WandbSink",
    "trackio": "rlottery.tracking.trackio_sink:TrackioSink",
    "mlflow": "rlottery.tracking.mlflow_sink:MlflowSink",
}
TITLES: dict[TrackerName, str] = {"wandb": "Weights & Biases", "trackio": "Trackio", "mlflow": "MLflow"}


class TrackingError(RlotteryError):
    """Metrics that can't be sent to a tracker."""


class Sink(Protocol):
    """What sends to one tracker. Its methods may raise anything, print, or never return."""

    destination: Mapping[str, Any]
    """Where it sends to, in plain JSON types."""

    def begin(self, run: TrackedRun, key: str) -> int | None:
        """Begin a run at the tracker, or continue it. `key` is a name that no other run has.

        Returns the last step that the tracker has of it, -1 if there is none; None if it can't say.
        """

    def log(self, key: str, steps: Sequence[Step]) -> None:
        """Send steps in ascending order, all later than what was sent before."""

    def end(self, key: str, status: str, facts: Mapping[str, Any]) -> None:
        """Stop working on a run.

        Args:
            status: "done", "failed", "diverged", or "interrupted" if it may continue.
            facts: what is known of a run that has ended.
        """


def make_sink(tracker: TrackerName, settings: TrackerSettings, folder: Path, study: str) -> Sink:
    """The sink of a tracker.

    Args:
        folder: for files that its library wants to keep.
        study: the study's name, the default for the tracker's project.

    Raises:
        TrackingError: its library can't be imported, or the folder leads elsewhere.
    """
    module, _, name = _SINKS[tracker].partition(":")
    for place in (folder, folder / tracker):
        if place.is_symlink():
            raise TrackingError(f"{place} is a symbolic link, so files would be outside the study. Delete it.")
    try:
        sink: Sink = getattr(import_module(module), name)(settings, folder, study)
    except ImportError as error:
        raise missing(tracker, error) from None
    return sink


def check_installed(tracker: TrackerName) -> None:
    """Raise TrackingError if a tracker's library isn't there. Doesn't import it."""
    spec = find_spec(tracker)
    if (
        spec is None or spec.origin is None
    ):  # a folder of this name, such as the one that wandb writes to, is no library
        raise missing(tracker, f"No module named {tracker!r}")


def missing(tracker: TrackerName, why: object) -> TrackingError:
    return TrackingError(
        f"{TITLES[tracker]} needs a package that can't be imported: {why}. Install the extra: {install_extra(tracker)}"
    )


def without_passwords(text: str) -> str:
    """The text of an error of a library, which may name addresses, without the users and passwords in these."""
    return re.sub(r"//[^/\s]+@", "//...@", text)
