"""What a config trains runs with, and the words where runs that are there were trained with something else."""

from collections.abc import Iterable, Mapping
from typing import Any

from rlottery.config import Config, Task
from rlottery.errors import StudyError
from rlottery.storage.manifests import list_differences
from rlottery.storage.study_record import config_from_record, read_study_record

MOST_SHOWN = 3
"""Keys that are named, of those that differ."""


def trained_with(config: Config, task: Task) -> dict[str, dict[str, Any]]:
    """The settings that decide what training does, as plain values: a part of each run's fingerprint."""
    return {
        "task": {"id": task.id, "kwargs": task.kwargs},
        "network": config.network.model_dump(mode="json"),
        "sac": config.sac_for(task).model_dump(mode="json"),
        "training": config.training_for(task).model_dump(mode="json"),
        "evaluation": {"interval": config.evaluation.interval, "episodes": config.evaluation.episodes},
    }


def unlike(config: Config, task: Task, fingerprint: Mapping[str, Any]) -> list[str]:
    """Where a run was trained with something else than a config asks for, a line a key.

    Args:
        fingerprint: the run's; what it doesn't tell of is not compared.
    """
    asked = {part: of for part, of in trained_with(config, task).items() if part in fingerprint}
    return list_differences(asked, {part: fingerprint[part] for part in asked})


def other_settings_message(config: Config, task: Task, fingerprints: Iterable[Mapping[str, Any]]) -> str | None:
    """Says how many runs of a task were trained with other settings than a config has, with which, and the mend.

    Args:
        fingerprints: of the task's runs in the config's data folder.

    Returns:
        None where all agree.
    """
    fingerprints = list(fingerprints)
    found = [lines for fingerprint in fingerprints if (lines := unlike(config, task, fingerprint))]
    if not found:
        return None
    lines, runs = found[0], "1 run was" if len(found) == 1 else f"{len(found)} runs were"
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    mend = "Give the settings that they were trained with"
    if _recorded(config, task, fingerprints):
        mend += f", or the data folder in the place of the config file: {config.data}"
    return (
        f"{task.id}: {runs} trained with other settings than these ({'; '.join(lines[:MOST_SHOWN])}{more}). "
        f"Scores are of the runs as they were trained; the settings and operation counts that are told are not. {mend}"
    )


def _recorded(config: Config, task: Task, fingerprints: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the data folder's record has the settings that these runs were trained with."""
    try:
        recorded = config_from_record(read_study_record(config.data), config.data)
    except StudyError:
        return False
    own = next((one for one in recorded.tasks if one.name == task.name), None)
    return own is not None and not any(unlike(recorded, own, fingerprint) for fingerprint in fingerprints)
