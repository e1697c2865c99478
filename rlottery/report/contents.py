"""The contents of a report: everything that its page, figures and tables are made of, collected from the store once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.costs import ArmCost
from rlottery.analysis.mask_analysis import MaskAnalysis
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.verdict import Measure, Verdicts
from rlottery.config import Verdict
from rlottery.report.differences_in_words import Wording
from rlottery.report.wording import METRIC_NAMES

Claims = Mapping[tuple[str, Measure], int]
"""Contrast, by its text and measure -> how many runs had ended when it was registered."""


@dataclass(frozen=True)
class Command:
    """A command that worked on the study.

    Attributes:
        when: seconds since 1970.
        line: as it was typed.
        seeds: those that the config asked for.
    """

    when: float
    line: str
    version: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """The contents of a report.

    Attributes:
        title: the name of the study.
        config: the settings as plain values, and config_text as YAML.
        versions: library -> version, from the manifests of the runs; several are joined with commas.
        seeds: those that the config asks for.
        score_evaluations: how many of the last evaluations make a score.
        lists_arms: whether the config lists its arms, instead of using the two built-in methods.
        scores: one entry per task. across: one entry per arm; empty where no task was learned.
        missing: what does not exist yet, failed or can't be read, one sentence each.
        no_films: why there are no videos of some tasks, one sentence each.
        films: task id -> media type and content of a video, where one was made.
        success_keys: task id -> key of `info` that success is read from, where it is known.
        setting: what the answers hold for, in one line; "" if it isn't known.
        asked: number of runs that the settings ask for, as far as the config lists its arms.
        claims: the contrasts in the study's record, also those that are no longer in the config.
        elsewhere: what was read, one line per file, if the runs are no study's but were made by other tools.
    """

    title: str
    config: Mapping[str, Any]
    config_text: str
    commands: tuple[Command, ...]
    versions: Mapping[str, str]
    seeds: tuple[int, ...]
    score_evaluations: int
    lists_arms: bool
    scores: tuple[TaskScores, ...]
    across: tuple[AcrossTasks, ...]
    verdicts: Verdicts
    masks: MaskAnalysis
    costs: tuple[ArmCost, ...]
    missing: tuple[str, ...]
    films: Mapping[str, tuple[str, bytes]]
    setting: str = ""
    asked: int = 0
    success_keys: Mapping[str, str | None] = field(default_factory=dict)
    no_films: tuple[str, ...] = ()
    claims: Claims = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    def metric_text(self, task: TaskScores) -> str:
        """What the scores of a task are: the return, or the success rate and where it is read."""
        key = self.success_keys.get(task.task)
        return METRIC_NAMES[task.metric] + (f" (info[{key!r}])" if task.metric == "success" and key else "")

    @property
    def rules(self) -> Verdict:
        """The settings of the verdict."""
        return Verdict.model_validate(self.config.get("verdict") or {})

    @property
    def wording(self) -> Wording:
        """How its differences are written."""
        return Wording({task.task: task.metric for task in self.scores}, self.rules.level)
