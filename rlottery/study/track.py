"""Sending the metrics of a study's runs to trackers on request, whether it was tracked while it ran or not."""

from collections.abc import Callable

from rlottery.config import TRACKERS, Config, TrackerName, TrackerSettings
from rlottery.config.fields import listed
from rlottery.errors import ConfigError, RlotteryError, StudyError, error_text
from rlottery.report.wording import plural
from rlottery.storage.locks import holder_of
from rlottery.storage.paths import Store
from rlottery.study.execution.tracking import check_trackers
from rlottery.study.planning.tracked_runs import begun_runs
from rlottery.tracking.sender import Sender
from rlottery.tracking.sinks import TITLES, TrackingError, make_sink, without_passwords
from rlottery.tracking.tracked_run import TrackedRun


def send_study(config: Config, say: Callable[[str], None]) -> None:
    """Send what was not sent yet of all runs that no other process works on.

    Raises:
        ConfigError: no tracker is chosen.
        StudyError: nothing was measured yet.
        TrackingError: a tracker can't be used, or doesn't take the metrics.
    """
    if not config.tracking.chosen:
        raise ConfigError(f"Name a tracker: --to {listed(TRACKERS)}")
    Store(config.data).check_links()
    check_trackers(config)
    runs = []
    for run in begun_runs(config):
        if holder_of(run.files) is not None:
            say(f"{run.name}: skipped, in use by another process, which may send its metrics.")
        else:
            runs.append(run)
    if not runs:
        raise StudyError(f"{config.data} has no metrics to send.")
    for tracker, settings in config.tracking.chosen.items():
        steps = _send(config, tracker, settings, runs)
        say(f"{TITLES[tracker]}: sent {plural(steps, 'step')} of {plural(len(runs), 'run')}.")


def _send(config: Config, tracker: TrackerName, settings: TrackerSettings, runs: list[TrackedRun]) -> int:
    """Returns how many steps were sent."""
    try:
        sender = Sender(tracker, make_sink(tracker, settings, Store(config.data).tracking.absolute(), config.name))
        for run in runs:
            sender.send(run)
        sender.close()
    except RlotteryError:
        raise
    except Exception as error:  # of other people's libraries
        raise TrackingError(
            f"{TITLES[tracker]} doesn't take the metrics: {without_passwords(error_text(error))[:500]}. "
            "What was sent stays sent: fix this, and run the same command again."
        ) from None
    return sender.sent
