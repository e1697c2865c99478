"""The profile of a cluster: what a study's jobs ask for there. No setting of it changes a result."""

import importlib.resources
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from rlottery.config.fields import Count, Section, Switch, Text
from rlottery.config.loading import load_settings
from rlottery.config.numbers import fault, whole
from rlottery.config.yaml_lines import show

LEAST_MINUTES = 4
"""The shortest time limit. Slurm may warn two minutes before it; a worker takes up to a minute to begin with a run."""
_TIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):(\d\d)(?::(\d\d))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _minutes(value: object) -> int:
    """The minutes of ``12:00:00`` or ``1-12:00:00``."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise fault(
            f'must be a time such as "12:00:00" or "1-12:00:00" (days-hours:minutes:seconds), not {show(value)}'
        )
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    total = 60 * (24 * days + hours) + minutes + (seconds > 0)
    if total < LEAST_MINUTES:
        raise fault(
            f"must be at least {LEAST_MINUTES} minutes, not {show(value)}: a run has to start, to compile, and to save "
            "a checkpoint before the limit"
        )
    return total


def _one_line(value: str) -> str:
    if not value.strip() or "\n" in value or value.startswith("-"):
        raise fault(f"must be a line of text, not {show(value)}")
    return value


def _variables(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise fault(f"must be a mapping of names to values, not {show(value)}")
    for name in value:
        if not _NAME.fullmatch(str(name)):
            raise fault(f"{show(name)} can't be the name of an environment variable")
    return {str(name): str(text) for name, text in value.items()}


def _memory(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d*[MG]", value):
        raise fault(f"must be an amount such as 800M or 4G, not {show(value)}")
    return value


Line = Annotated[Text, AfterValidator(_one_line)]
Limit = Annotated[int, PlainValidator(_minutes)]


class ClusterProfile(Section):
    """What jobs ask a Slurm cluster for. `default_cluster.yaml` explains the keys."""

    time: Limit = Field(description="time limit of a job, in minutes once it is read")
    head_time: Limit = Field(default=24 * 60, description="time limit of the job of --detach")
    partition: Line | None = None
    account: Line | None = None
    qos: Line | None = None
    constraint: Line | None = None
    memory: Annotated[str, PlainValidator(_memory)] = "2G"
    cores: Annotated[int, whole(1, 1_024)] = 1
    whole_nodes: Switch = False
    jobs: Count = 500
    array_size: Annotated[int, whole(1, 100_000)] = 500
    setup: tuple[Line, ...] = ()
    environment: Annotated[dict[str, str], PlainValidator(_variables)] = Field(default_factory=dict)
    requeue: Switch = True
    data_is_shared: Switch = False

    @model_validator(mode="after")
    def _whole_nodes_are_filled(self) -> "ClusterProfile":
        if self.whole_nodes and self.cores == 1:
            raise fault("whole_nodes: true needs `cores`, the number of cores of a node, or all but one are idle")
        return self


def load_profile(path: Path) -> ClusterProfile:
    """Read the profile of a cluster. Raises ConfigError with one line per fault: file, line, key and what is wrong."""
    return load_settings(path, ClusterProfile, "`rlottery init --cluster slurm` writes a commented one")


def default_profile_text() -> str:
    """The commented YAML of a profile."""
    return (importlib.resources.files("rlottery.config") / "default_cluster.yaml").read_text(encoding="utf-8")
