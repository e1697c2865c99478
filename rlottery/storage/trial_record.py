"""What the trial of a task found (`rlottery.envs.trial`), and the file of it in a study's data folder.

`trials/TASK.json` contains a checksum, as manifests do. A missing or damaged record is replaced by a new trial.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from rlottery.config import Config, Deviation, Task
from rlottery.errors import StudyError
from rlottery.storage.manifests import MANIFEST_FORMAT, read_sealed, write_sealed
from rlottery.storage.paths import Store
from rlottery.storage.stored_types import Count, LongText, Name, validated


@dataclass(frozen=True)
class Trial:
    """What the trial of a task found.

    Attributes:
        kwargs: the arguments that the environment was made with.
        observation_size, action_size: entries of an observation and of an action; the number of discrete actions.
        success_key: the key of `info` that success was read from; None if there was none.
        steps: of the first episode, and whether it `ended`.
        steps_per_second: in that episode, on that machine.
        deviations: how the task deviates from what training relies on, and how that showed, in a sentence.
        notes: what is worth knowing and breaks nothing, one sentence each.
        rendering: what happened when the task was rendered; "" if that was not tried.
        packages: package -> version, of those that the environment comes from.
        sources: module of the user's own -> the SHA-256 of its file.
        discrete: whether actions are. Earlier versions learned continuous ones only, and didn't record it.
    """

    kwargs: dict[str, Any]
    observation_size: Count
    action_size: Count
    success_key: LongText | None
    steps: Count
    ended: Annotated[bool, Field(strict=True)]
    steps_per_second: Annotated[float, Field(strict=True, ge=0, le=1e12)]
    deviations: dict[Deviation, LongText]
    notes: list[LongText]
    rendering: LongText
    packages: dict[Name, LongText]
    sources: dict[LongText, Name]
    discrete: Annotated[bool, Field(strict=True)] = False

    @property
    def code(self) -> str:
        """A digest of the user's own code; "" if there is none."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self.sources.items()))
        return hashlib.sha256(lines.encode()).hexdigest()[:12] if lines else ""


def trial_from_dict(content: Any) -> Trial:
    """The trial with these fields. Raises pydantic's ValidationError."""
    return validated(Trial, content)


def read_trial(store: Store, task: Task) -> Trial | None:
    """The recorded trial of a task with its arguments; None if there is none, or it can't be read."""
    try:
        trial = trial_from_dict(read_sealed(store.trial(task.name)).get("trial"))
    except (FileNotFoundError, StudyError, ValidationError):
        return None
    return trial if trial.kwargs == task.kwargs else None


def write_trial(store: Store, task: Task, trial: Trial) -> None:
    """Record a trial. Raises OSError if it can't be written."""
    write_sealed(store.trial(task.name), {"format_version": MANIFEST_FORMAT, "task": task.id, "trial": asdict(trial)})


CODE_OF = "code of "


def code_name(task: str) -> str:
    """The name of the digest of a task's code among the versions that a run was made with."""
    return f"{CODE_OF}{task}"


def read_trials(config: Config) -> dict[str, Trial]:
    """The recorded trials of a study's tasks, by id."""
    store = Store(config.data)
    return {task.id: trial for task in config.tasks if (trial := read_trial(store, task)) is not None}


def deviation_lines(trials: Mapping[str, Trial]) -> tuple[str, ...]:
    """How the tasks of a study deviate, one sentence each."""
    return tuple(
        f"{task} deviates from what comparisons rely on ({kind}, which the config allows): {seen}"
        for task, trial in trials.items()
        for kind, seen in trial.deviations.items()
    )
