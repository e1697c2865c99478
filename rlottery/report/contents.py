"""What a report tells: everything that its pages, figures and tables are made of, gathered from the store once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlottery.analysis.comparison import Comparison
from rlottery.analysis.costs import ArmCost
from rlottery.analysis.mask_analysis import MaskPages
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import AcrossTasks, TaskScores
from rlottery.analysis.verdict import Verdicts


@dataclass(frozen=True)
class Command:
    """One command that worked on the study.

    Attributes:
        when: seconds since 1970.
        line: as it was typed.
        seeds: that the config asked for then.
    """

    when: float
    line: str
    version: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A report's contents.

    Attributes:
        title: the study's name.
        config: the settings in plain values, and as YAML text.
        versions: library -> version, as the runs' manifests have them; several are joined with commas.
        runs: task id -> its runs, for the curves.
        scores: a task each. across: an arm each; empty where no task was learned.
        missing: what is not there yet, failed or can't be read, a line each.
        asked: runs that the settings ask for, as far as they list their arms.
        films: task id -> an MP4 or GIF file to embed, where one was made.
    """

    title: str
    config: Mapping[str, Any]
    config_text: str
    commands: tuple[Command, ...]
    versions: Mapping[str, str]
    comparison: Comparison
    runs: Mapping[str, tuple[Run, ...]]
    scores: tuple[TaskScores, ...]
    across: tuple[AcrossTasks, ...]
    verdicts: Verdicts
    masks: MaskPages
    costs: tuple[ArmCost, ...]
    missing: tuple[str, ...]
    films: Mapping[str, tuple[str, bytes]]
    asked: int = 0
