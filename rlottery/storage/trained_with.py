"""The settings that runs are trained with, and the message about runs that were trained with others."""

from collections.abc import Iterable, Mapping
from typing import Any

from rlottery.config import Config, Task
from rlottery.errors import StudyError
from rlottery.storage.manifests import algorithm_in, list_differences
from rlottery.storage.study_record import config_from_record, read_study_record

MOST_SHOWN = 3
"""How many of the differing keys are shown."""


def trained_with(config: Config, task: Task) -> dict[str, dict[str, Any]]:
    """The settings that training depends on, as plain values. They are a part of each run's fingerprint."""
    return {
        "task": {"id": task.id, "kwargs": task.kwargs},
        "network": config.network.model_dump(mode="json", include={*config.groups, "activation"}),
        config.algorithm: config.hyperparameters_for(task).model_dump(mode="json"),
        "training": config.training_for(task).model_dump(mode="json"),
        "evaluation": {"interval": config.evaluation.interval, "episodes": config.evaluation.episodes},
    }


def differing_settings(asked: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> list[str]:
    """The keys for which a run was trained with other settings than these (`trained_with`), one line each.

    Keys that the run's fingerprint lacks are not compared.
    """
    algorithms = {algorithm_in(asked), algorithm_in(fingerprint)}
    compared = asked.keys() & fingerprint.keys() | (set() if None in algorithms else algorithms)
    ours, theirs = ({part: of[part] for part in of if part in compared} for of in (asked, fingerprint))
    return list_differences(ours, theirs)


def other_settings_message(config: Config, task: Task, fingerprints: Iterable[Mapping[str, Any]]) -> str | None:
    """How many runs of a task were trained with other settings than a config's, with which, and how to fix it.

    None if all runs, of which these are the fingerprints, have the config's settings.
    """
    fingerprints, asked = list(fingerprints), trained_with(config, task)
    found = [lines for fingerprint in fingerprints if (lines := differing_settings(asked, fingerprint))]
    if not found:
        return None
    lines, runs = found[0], "1 run was" if len(found) == 1 else f"{len(found)} runs were"
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    fix = "Set the values that they were trained with"
    if _recorded(config, task, fingerprints):
        fix += f", or give the data folder instead of the config file: {config.data}"
    return (
        f"{task.id}: {runs} trained with other settings than these ({'; '.join(lines[:MOST_SHOWN])}{more}). "
        f"The scores are those of the runs as trained, but the settings and FLOPs shown are the config's. {fix}"
    )


def _recorded(config: Config, task: Task, fingerprints: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the record in the data folder has the settings that these runs were trained with."""
    try:
        recorded = config_from_record(read_study_record(config.data), config.data)
    except StudyError:
        return False
    own = next((one for one in recorded.tasks if one.name == task.name), None)
    if own is None:
        return False
    asked = trained_with(recorded, own)
    return not any(differing_settings(asked, fingerprint) for fingerprint in fingerprints)
