"""The contents of a report on runs that were made elsewhere: their scores alone, judged as a study's are."""

import json
import re
import shlex
import statistics
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from rlottery.analysis.across_tasks import across_tasks
from rlottery.analysis.arrays import rounding_of
from rlottery.analysis.contrasts import evaluate_contrasts
from rlottery.analysis.judging import TaskToJudge, controls_of, judge
from rlottery.analysis.kinds import LayerCounts
from rlottery.analysis.learning import LEAST_SUCCESS_GAINED
from rlottery.analysis.mask_analysis import MaskAnalysis
from rlottery.analysis.rules import rules_as_sentences
from rlottery.analysis.runs import Evaluation, Metric, Run
from rlottery.analysis.scores import WITHOUT_DENSE, TaskScores, task_scores
from rlottery.analysis.verdict import Verdicts
from rlottery.config import Config, Contrast, RegisteredContrast
from rlottery.config.contrasts import BETTER, DIFFERS, MINUS, objections
from rlottery.errors import StudyError, or_closest
from rlottery.interop.scored_runs import Elsewhere, ScoredRun
from rlottery.report.contents import Contents
from rlottery.report.wording import few, joined, plural
from rlottery.storage.paths import DENSE, RunFiles
from rlottery.storage.untrained_record import UntrainedScores

UNTRAINED = "untrained"
"""The arm whose scores are those of untrained agents, if files have one of this name."""


_AS_LONG = 0.95
"""Runs are as long as others from this share of their steps on; episodes don't end at the same step."""


_IN_EXAMPLE = 3
"""How many contrasts an example has at most."""
_SIGNS = (BETTER, DIFFERS, MINUS)
"""Words that aren't names of arms in a contrast."""
_WEIGHTS = "weights"
"""The group of networks that a sparsity is of."""


@dataclass(frozen=True)
class Roles:
    """What the arms of somebody's files are. All other arms are tickets.

    Attributes:
        dense: what the others are compared with; None if nothing is.
        controls: arm with random masks -> the tickets that have the same layer counts.
        untrained: the arm of untrained agents, one row for each; None if there is none.
        others: arms that are compared and not judged.
    """

    dense: str | None
    controls: Mapping[str, tuple[str, ...]]
    untrained: str | None
    others: frozenset[str]


def roles_of(
    found: Elsewhere,
    dense: str | None = None,
    controls: Mapping[str, tuple[str, ...]] | None = None,
    untrained: str | None = None,
) -> Roles:
    """The roles that the user names; else those that columns name, or the names of the arms say.

    Raises:
        StudyError: there is no such arm, or an arm has two roles.
    """
    arms = list(dict.fromkeys(run.arm for run in found.runs))
    typed = controls or {}
    controls = {**found.controls, **typed}
    named = {"--dense": dense, "--untrained": untrained}
    pairs = {
        (arm, ticket): f"--control {arm}={ticket}" if arm in typed else f"{arm} is called a control of {ticket}"
        for arm, of in controls.items()
        for ticket in of
    }
    named |= {said: name for pair, said in pairs.items() for name in pair if name not in arms}
    for flag, name in named.items():
        if name is not None and name not in arms:
            hint = or_closest(name, arms) or f"; the arms are {few(arms)}"
            raise StudyError(f"{flag}: there is no arm {name!r} in the files{hint}.")
    by_kind = {kind: [arm for arm in arms if found.kinds.get(arm) == kind] for kind in ("dense", "control", "other")}
    if dense is None and len(by_kind["dense"]) > 1:
        raise StudyError(f"Several arms are called dense: {joined(by_kind['dense'])}. Choose one: --dense NAME")
    if dense is None:
        dense = by_kind["dense"][0] if by_kind["dense"] else _called(DENSE, arms)
    if untrained is None:
        untrained = _called(UNTRAINED, arms)
    if lacking := [arm for arm in by_kind["control"] if arm not in controls]:
        raise StudyError(f"{lacking[0]} is called a control, but not of which arm: --control {lacking[0]}=TICKET")
    for (arm, of), said in pairs.items():
        if arm in (dense, untrained) or of in (dense, untrained) or of in controls:
            raise StudyError(f"{said}: a control is an arm of random masks, and TICKET the arm it is for.")
    if dense is not None and dense != DENSE and DENSE in arms:
        raise StudyError(f"The dense arm is {dense}, but another arm is called {DENSE} in the files. Rename it.")
    others = frozenset(by_kind["other"]) - {dense, untrained} - controls.keys()
    return Roles(dense, controls, untrained, others)


def _called(name: str, arms: Sequence[str]) -> str | None:
    """The arm of this name, or else the first one of this name in other cases of letters."""
    return name if name in arms else next((arm for arm in arms if arm.lower() == name), None)


def collect_elsewhere(
    found: Elsewhere, roles: Roles, config: Config, metric: Metric = "return", title: str = "Runs made elsewhere"
) -> Contents:
    """The contents of a report on runs that were made elsewhere.

    Args:
        config: `verdict` and `evaluation.score_evaluations`, `evaluation.episodes` and `contrasts` count.

    Raises:
        StudyError: there is nothing to compare; or a contrast names no arm.
    """
    runs = [run for run in found.runs if run.arm != roles.untrained]
    contrasts = _contrasts(config, found, roles, list(dict.fromkeys(run.arm for run in runs)))
    last = config.evaluation.score_evaluations
    of_tasks = [_OfTask(task, found, roles, metric, last) for task in dict.fromkeys(run.task for run in runs)]
    tasks = [TaskToJudge(of.scored(config), _counts(roles)) for of in of_tasks]
    scores = tuple(task.scores for task in tasks)
    verdicts, pooled = judge(tasks, config.verdict)
    if roles.dense is None:
        verdicts = tuple(replace(of, why=WITHOUT_DENSE) for of in verdicts)
    controls = {ticket: of for task in reversed(tasks) for ticket, of in controls_of(task).items() if of}
    least = config.verdict.least_seeds
    ready = [task for task in scores if (dense := task.arm(DENSE)) and len(dense.scores) >= least] or scores
    said = {
        "dense": roles.dense,
        "controls": {arm: list(of) for arm, of in roles.controls.items()},
        "untrained": roles.untrained,
        "metric": metric,
        "evaluation": {"score_evaluations": last, "episodes": config.evaluation.episodes},
        "verdict": config.verdict.model_dump(mode="json"),
        "contrasts": [str(contrast) for contrast in contrasts],
    }
    return Contents(
        title=title,
        config={"verdict": said["verdict"], "contrasts": said["contrasts"]},
        config_text=yaml.safe_dump(said, sort_keys=False, allow_unicode=True),
        commands=(),
        versions={},
        seeds=tuple(sorted({run.seed for run in runs})),
        score_evaluations=last,
        lists_arms=True,
        scores=scores,
        across=across_tasks(ready, controls, config.verdict.resamples),
        verdicts=Verdicts(
            rules=rules_as_sentences(config, _scored(last, found.training)),
            tasks=verdicts,
            pooled=pooled,
            methods=(),
            trends=(),
            seeds_added=0,
            deviations=tuple(_cautions(found, roles, of_tasks, scores, has_contrasts=bool(contrasts))),
            contrasts=evaluate_contrasts(scores, contrasts, config.verdict),
        ),
        masks=MaskAnalysis((), (), ()),
        costs=(),
        missing=(),
        films={},
        setting="Runs that were made elsewhere",
        elsewhere=found.sources,
    )


class _OfTask:
    """The runs of one task."""

    def __init__(self, task: str, found: Elsewhere, roles: Roles, metric: Metric, last: int):
        self.task, self.metric, self.last = task, metric, last
        of_task = [run for run in found.runs if run.task == task]
        self.untrained = [row.score for run in of_task if run.arm == roles.untrained for row in run.rows]
        self.runs = [_run(run, found, roles, metric) for run in of_task if run.arm != roles.untrained]
        self.given = [run for run in of_task if run.arm != roles.untrained]
        dense = {run.seed: run for run in self.runs if run.arm == DENSE}
        before = {seed: run.evaluations[0] for seed, run in dense.items() if run.evaluations[0].env_steps == 0}
        self.without_dense = roles.dense is None
        self.by_first = (
            bool(dense) and not before and not self.untrained and all(len(run.trained) > last for run in dense.values())
        )
        if self.by_first:  # the best that is known of agents before training
            before = {seed: run.evaluations[0] for seed, run in dense.items()}
        self.before = before

    def scored(self, config: Config) -> TaskScores:
        starts = {seed: evaluation.scores[self.metric] for seed, evaluation in self.before.items()}
        sample = None
        if self.untrained:
            starts = starts or dict(enumerate(self.untrained))
            successes = [score if self.metric == "success" else None for score in self.untrained]
            sample = UntrainedScores({}, len(self.untrained), self.untrained, successes, {})
        scored = task_scores(self.task, self.runs, self._least_gain(), config, sample=sample, starts=starts)
        return replace(scored, by_first=self.by_first, without_dense=self.without_dense)

    def _least_gain(self) -> float:
        """What dense agents must gain: a standard deviation of untrained scores, of single episodes if known."""
        if self.metric == "success":
            return LEAST_SUCCESS_GAINED
        episodes = [value for evaluation in self.before.values() for value in evaluation.returns]
        values = self.untrained or episodes or [evaluation.scores["return"] for evaluation in self.before.values()]
        return max(statistics.pstdev(values), rounding_of(values)) if values else 0.0


def _run(given: ScoredRun, found: Elsewhere, roles: Roles, metric: Metric) -> Run:
    """The run as if a study had it. Raises StudyError if it was evaluated before training alone."""
    evaluations = tuple(
        # A score without a step is one of a trained agent.
        Evaluation(1 if row.step is None else row.step, {metric: row.score}, array("d", row.returns))
        for row in given.rows
    )
    if all(evaluation.env_steps == 0 for evaluation in evaluations):
        raise StudyError(f"{given.rows[0].where}: arm {given.arm}, seed {given.seed} has no evaluation after step 0.")
    of, share = roles.controls.get(given.arm), found.sparsity.get(given.arm)
    return Run(
        arm=DENSE if given.arm == roles.dense else given.arm,
        seed=given.seed,
        files=RunFiles(Path(given.rows[0].where)),
        status="done",
        # A name that no criterion has: nobody says how an arm was made.
        criterion=None if given.arm == roles.dense or of is not None else f"elsewhere:{given.arm}",
        env_steps=evaluations[-1].env_steps if given.has_steps else None,
        sparsity=None if share is None or given.arm == roles.dense else {_WEIGHTS: share},
        recipe={} if of is None else {"control": "random", "of": ", ".join(of)},
        start={"rewind": "none"} if given.arm in roles.others or roles.dense is None else {},
        evaluations=evaluations,
    )


def _counts(roles: Roles) -> dict[str, LayerCounts]:
    """Layer counts that a ticket and its controls share, since the user says so, and no others."""
    alike: list[set[str]] = []
    for arm, tickets in roles.controls.items():
        same = {arm, *tickets}.union(*(of for of in alike if of & {arm, *tickets}))
        alike = [of for of in alike if not of & same] + [same]
    return {arm: LayerCounts({"": 1}, {0: (index,)}) for index, of in enumerate(alike) for arm in of}


def _contrasts(config: Config, found: Elsewhere, roles: Roles, arms: Sequence[str]) -> tuple[RegisteredContrast, ...]:
    """The contrasts that the command names; between two arms without a dense one, that of the two."""
    if len(arms) < 2:
        one = arms[0] if arms else roles.untrained
        raise StudyError(f"The files have one arm, {one}, so there is nothing to compare.")
    contrasts = [_by_role(contrast, roles.dense) for contrast in config.contrasts]
    for _, why in objections(contrasts, _known(roles, arms)):
        raise StudyError(f"contrasts: {why}.")
    if contrasts:
        return tuple(part for contrast in contrasts for part in contrast.parts())
    if roles.dense is not None:
        return ()
    if len(arms) != 2:
        last = config.evaluation.score_evaluations
        normalised = roles.untrained is not None or any(
            run.rows[0].step == 0 or len(run.rows) > last for run in found.runs
        )
        dense = "Say which one is dense: --dense NAME. Or what" if normalised else "Say what"
        raise StudyError(f"The files have the arms {few(arms)}. {dense} to compare{_such_as(arms)}")
    return (RegisteredContrast((arms[0],), (arms[1],), two_sided=True, measure="score"),)


def _known(roles: Roles, arms: Sequence[str]) -> list[str]:
    """The arms by the names that they have in a report."""
    return [DENSE if arm == roles.dense else arm for arm in arms]


def _by_role(contrast: Contrast, dense: str | None) -> Contrast:
    """A contrast that may call the dense arm as the files do, with its name in a report. Raises StudyError."""
    if dense is None or dense in _SIGNS:
        return contrast
    claim = " ".join(DENSE if word == dense else word for word in contrast.claim.split())
    try:
        return Contrast(claim=claim, measure=contrast.measure)
    except ValidationError as error:
        raise StudyError(f"contrasts: {error.errors()[0]['msg']}. The dense arm is {dense}.") from None


def _such_as(arms: Sequence[str]) -> str:
    """The end of a sentence: `contrasts` that compare an arm with others, or that names with spaces rule them out."""
    named = [arm for arm in arms if len(arm.split()) == 1 and arm not in _SIGNS]
    claims = [f"{named[0]} {DIFFERS} {other}" for other in named[1 : 1 + _IN_EXAMPLE]]
    if not claims:
        return ". Contrasts can't name arms with spaces: rename the arms"
    plain = all(re.fullmatch(r"[\w.+ -]+", claim) and claim[0].isalnum() for claim in claims)
    shown = ", ".join(claims if plain else [json.dumps(claim, ensure_ascii=False) for claim in claims])
    return f": contrasts={shlex.quote(f'[{shown}]')}"


def _scored(last: int, training: bool) -> str:
    what = "its last evaluation" if last == 1 else f"the mean of its last {last} evaluations"
    of = ", which are means of training episodes" if training else " in the files"
    return f"The score of a run is {what}{of}."


def _cautions(
    found: Elsewhere, roles: Roles, tasks: Sequence[_OfTask], scores: Sequence[TaskScores], *, has_contrasts: bool
) -> Iterator[str]:
    """What limits the answers because the runs were made elsewhere."""
    if found.training:
        yield (
            "Scores of monitor files are those of training episodes, with exploration, not of the deterministic policy."
        )
    if roles.dense not in (None, DENSE):
        yield f"The dense agents are those of the arm {roles.dense}."
    if roles.controls:
        pairs = joined(f"{arm} of {joined(of)}" for arm, of in roles.controls.items())
        yield f"Which arms are random masks with a ticket's layer counts is not checked: {pairs}."
    for task, scored in zip(tasks, scores, strict=True):
        if roles.dense is not None and scored.untrained is None:
            yield (
                f"On {task.task}, the scores of untrained agents are not known. Add evaluations at step 0 to the dense "
                "runs, or an arm of untrained agents: --untrained NAME."
            )
        yield from _uneven(task, scored)
    unscaled = [scored for scored in scores if roles.dense is not None and scored.untrained is None]
    if unscaled and not has_contrasts:
        others = dict.fromkeys(arm.arm for scored in unscaled for arm in scored.arms if arm.arm != DENSE)
        yield f"Contrasts need no untrained scores{_such_as([DENSE, *others])}"


def _uneven(task: _OfTask, scored: TaskScores) -> Iterator[str]:
    """How the runs of a task differ in what should be equal."""
    seeds = {arm.arm: len(arm.scores) for arm in scored.arms}
    if len(set(seeds.values())) > 1:
        yield f"On {task.task}, arms have different numbers of seeds: {few(f'{arm} {n}' for arm, n in seeds.items())}."
    if short := [run for run in task.runs if len(run.trained) < task.last]:
        one = short[0]
        yield (
            f"On {task.task}, {plural(len(short), 'run')} {'has' if len(short) == 1 else 'have'} fewer than "
            f"{task.last} evaluations, such as {one.arm}, seed {one.seed}: the score is the mean of those it has."
        )
    ends = sorted({run.env_steps for run in task.runs if run.env_steps is not None})
    if ends and ends[0] < _AS_LONG * ends[-1]:
        yield (
            f"On {task.task}, runs end at different steps, from {ends[0]:,} to {ends[-1]:,}. Runs that trained longer "
            "may be better for that reason alone."
        )


def evaluations_per_score(found: Elsewhere) -> int | None:
    """1 if no run has more than one evaluation after step 0; None if the default is to be used."""
    counts = [sum(row.step != 0 for row in run.rows) for run in found.runs]
    return 1 if max(counts, default=1) == 1 else None
