"""Tracking the runs of a command, or of an allocation on a node, while they are trained."""

from collections.abc import Callable, Iterable

from rlottery.config import Config
from rlottery.processes.children import ChildError, call_in_child
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.tracked_runs import tracked_runs
from rlottery.tracking.following import Followers
from rlottery.tracking.sinks import TrackingError, check_installed

LOGIN_SECONDS = 60.0
"""How long to wait for the answer whether the user is logged in. A library that hangs doesn't stop a study."""


def following(
    config: Config, jobs: Iterable[Job], say: Callable[[str], None], is_stopped: Callable[[], bool]
) -> Followers:
    """A context in which the metrics of the runs that these jobs train are sent to the trackers of the config."""
    runs = tracked_runs(jobs) if config.tracking.chosen else []
    return Followers(config.tracking, config.data, runs, say, is_stopped)


def check_trackers(config: Config) -> None:
    """Raise TrackingError if a tracker of the config isn't installed, or has no key of this user."""
    for tracker in config.tracking.chosen:
        check_installed(tracker)
    if (wandb := config.tracking.wandb) is None:
        return
    try:
        is_logged_in = call_in_child("rlottery.tracking.wandb_sink:is_logged_in", wandb.mode, seconds=LOGIN_SECONDS)
    except ChildError:
        return
    if not is_logged_in:
        raise TrackingError(
            "Weights & Biases has no key of yours on this machine. Log in with `wandb login`, or set WANDB_API_KEY; or "
            "keep the metrics here, to send them later: tracking.wandb.mode=offline"
        )
