"""The figures of the page, each with what has to be known to read it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rlottery.analysis.mask_analysis import ArmMasks, Likeness, MaskPages
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import AcrossTasks, TaskScores
from rlottery.config import file_name
from rlottery.report.contents import Contents
from rlottery.report.curve_panels import below_panels, curve_panels
from rlottery.report.drawn import LIGHT, Drawn
from rlottery.report.families import Look
from rlottery.report.inline_svg import inline
from rlottery.report.mask_figures import idle_units, input_strip, likeness, likeness_between_tasks, survivors
from rlottery.report.mask_picture import mask_picture
from rlottery.report.panels import thousands
from rlottery.report.score_figures import (
    aggregates,
    improvement,
    profiles,
    score_over_sparsity,
    share_over_sparsity,
)
from rlottery.report.sentences import BOOTSTRAP
from rlottery.report.words import METRIC_NAMES, count
from rlottery.storage.paths import DENSE


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page.

    Attributes:
        name: of its files, and before its ids.
        title: a few words.
        caption: what it shows, with n, interval and unit.
    """

    name: str
    title: str
    caption: str
    drawn: Drawn

    @property
    def is_picture(self) -> bool:
        """Whether it shows every weight of a mask: for those who ask for it."""
        return self.name.startswith("mask-picture")

    @property
    def svg(self) -> Markup:
        """What stands in the page; names of the study are outlines in it, or escaped."""
        return Markup(inline(self.drawn.svg, self.name, self.drawn.alt))


@dataclass(frozen=True)
class PageFigures:
    """All figures of the page, by the part that they stand in."""

    sparsity: tuple[PageFigure, ...]
    curves: tuple[PageFigure, ...]
    across: tuple[PageFigure, ...]
    masks: tuple[PageFigure, ...]

    @property
    def every(self) -> tuple[PageFigure, ...]:
        """In the page's order."""
        return (*self.sparsity, *self.curves, *self.across, *self.masks)


def page_figures(contents: Contents, look: Mapping[str, Look]) -> PageFigures:
    """Every figure once, in the light theme's colours: in the page they are the page's."""
    sparsity = [_over_sparsity(contents, scores, look) for scores in contents.scores]
    curves = [_curves(contents, task, runs, look) for task, runs in contents.runs.items()]
    pooled, across = _across(contents, look)
    return PageFigures(
        _there([pooled, *sparsity]), _there(curves), _there(across), _there(_mask_figures(contents, look))
    )


def _over_sparsity(contents: Contents, scores: TaskScores, look: Mapping[str, Look]) -> PageFigure | None:
    task = scores.task
    shown = [a for a in scores.arms if a.arm == DENSE or (a.arm in look and look[a.arm].sparsity is not None)]
    n = _n((len(arm.scores) for arm in shown), len(contents.comparison.seeds), "seed", "an arm")
    arms = {arm.arm for arm in shown}
    diverged = sum(run.status == "diverged" and run.arm in arms for run in contents.runs.get(task, ()))
    counted = f" {count(diverged, 'run')} diverged, and score as untrained agents." if diverged > 1 else ""
    counted = " 1 run diverged, and scores as untrained agents." if diverged == 1 else counted
    return _figure(
        f"sparsity-{file_name(task)}",
        task,
        f"{task}: mean {METRIC_NAMES[scores.metric]} of {n}, with its {BOOTSTRAP}; dots: single seeds. "
        f"Score: mean of the last {contents.comparison.score_evaluations} evaluations.{counted}",
        score_over_sparsity(scores, look, LIGHT),
    )


def _curves(contents: Contents, task: str, runs: Sequence[Run], look: Mapping[str, Look]) -> PageFigure | None:
    done = dict.fromkeys((run.arm for run in runs if run.evaluations and run.arm in look), 0)
    for run in runs:
        if run.arm in done and run.evaluations and run.status == "done":
            done[run.arm] += 1
    n = _n(done.values(), len(contents.comparison.seeds), "seed", "an arm")
    below = ""
    if (lowest := below_panels(runs, look)) is not None:
        below = f" Before training some runs score as low as {thousands(float(f'{lowest:.3g}'))}: below the panels."
    return _figure(
        f"curves-{file_name(task)}",
        task,
        f"{task}: score of the deterministic policy over environment steps. Thick: mean of the runs that are done, "
        f"{n}; no interval is drawn, for every seed is.{below}",
        curve_panels(task, runs, look, LIGHT),
    )


def _across(contents: Contents, look: Mapping[str, Look]) -> tuple[PageFigure | None, list[PageFigure | None]]:
    """Shares over sparsity where there are several tasks, and the figures of arms across tasks."""
    arms, left_out = _on_the_same_tasks(contents.across)
    of_tasks = [arm for arm in arms if arm.arm != DENSE]
    tasks = max((len(arm.tasks) for arm in of_tasks), default=0)
    without = f" Not drawn, for they are done on other tasks: {', '.join(left_out)}." if left_out else ""
    n = _n((arm.runs for arm in of_tasks), tasks * len(contents.comparison.seeds), "run", "an arm")
    over = f"{count(tasks, 'task')}, {n}.{without}"
    pooled = _figure(
        "share-over-sparsity",
        "All tasks",
        f"All tasks: share of what dense agents gained, mean over {count(tasks, 'task')} ({n}), "
        f"with its {BOOTSTRAP}.{without}",
        share_over_sparsity(arms, look, LIGHT) if tasks > 1 else None,
    )
    return pooled, [
        _figure(
            "aggregates",
            "Aggregates over tasks",
            f"Share of what dense agents gained, with its {BOOTSTRAP}; {over} The interquartile mean is over runs, "
            "mean and median are over tasks. Line: dense agents on average.",
            aggregates(arms, look, LIGHT),
        ),
        _figure(
            "profiles",
            "Performance profiles",
            f"Share of runs that reach at least so much of what dense agents gained, with its {BOOTSTRAP}; {over} "
            "Higher and further right is better.",
            profiles(arms, look, LIGHT),
        ),
        _figure(
            "improvement",
            "Probability of improvement",
            f"Probability that a run of the arm scores above one of the other, ties counting half, with its "
            f"{BOOTSTRAP}; {over} Line: even chances.",
            improvement(arms, look, LIGHT),
        ),
    ]


def _on_the_same_tasks(across: Sequence[AcrossTasks]) -> tuple[list[AcrossTasks], list[str]]:
    """The dense agents and the arms of those tasks that most arms are done on, and the names of the other arms.

    A mean over other tasks is another question: half a study must not look like a ranking.
    """
    counted = Counter(arm.tasks for arm in across if arm.arm != DENSE)
    tasks = max(counted, key=lambda tasks: (counted[tasks], len(tasks)), default=())
    alike = [arm for arm in across if arm.arm == DENSE or arm.tasks == tasks]
    return alike, [arm.arm for arm in across if arm.arm != DENSE and arm.tasks != tasks]


def _mask_figures(contents: Contents, look: Mapping[str, Look]) -> list[PageFigure | None]:
    masks, seeds = contents.masks, len(contents.comparison.seeds)
    tasks = list(dict.fromkeys(arm.task for arm in masks.arms))

    def means(arms: Iterable[ArmMasks]) -> str:
        n = _n((len(arm.seeds) for arm in arms), seeds, "seed", "an arm")
        return f"Means over {n}, told beside the rows; no interval."

    between = [like for like in masks.likeness if like.kind == "task"]
    return [
        _figure(
            "mask-survivors",
            "Survivors of every layer",
            f"Share of the weights of every layer that survive, in per cent. {means(masks.arms)}",
            survivors(masks, look, LIGHT),
        ),
        _figure(
            "mask-idle-units",
            "Idle units",
            "Share of the hidden units that have no way to an output or from an input, in per cent. "
            f"{means(masks.arms)}",
            idle_units(masks, look, LIGHT),
        ),
        *(
            _figure(
                f"mask-inputs-{file_name(task)}",
                f"Inputs kept on {task}",
                f"{task}: share of each observation entry's weights in the actor's first layer that survive. "
                f"{means(arm for arm in masks.arms if arm.task == task)} Cross: read in no seed; number: seeds in "
                "which it is not read. What critics keep and the entries' saliency are in the table of inputs.",
                input_strip(masks, task, look, LIGHT),
            )
            for task in tasks
        ),
        _figure(
            "mask-likeness",
            "What masks share",
            f"Jaccard index of the surviving weights of two masks, of 1; {_likeness_means(masks)}, told beside the "
            "rows; no interval.",
            likeness(masks, look, LIGHT),
        ),
        _figure(
            "mask-likeness-tasks",
            "What masks of two tasks share",
            f"Jaccard index of the surviving weights, in per cent; means over {_pairs(between)} of masks of one seed; "
            "no interval.",
            likeness_between_tasks(masks, look, LIGHT),
        ),
        *(
            _figure(
                f"mask-picture-{kind}-{file_name(task)}",
                f"{arm.arm} on {task}",
                f"{arm.arm} on {task}: the actor's mask of one seed, a point a weight; n = 1 seed, no interval.",
                mask_picture(arm, look, LIGHT),
            )
            for task in tasks
            for kind, arm in _pictured(masks, task, look).items()
        ),
    ]


def _likeness_means(masks: MaskPages) -> str:
    """What the rows of the figure are means over, as far as there are such rows."""
    drawn = [like for like in masks.likeness if like.kind in ("seed", "criterion")]
    batches = [len(arm.stability_seeds) for arm in masks.arms if arm.stability is not None]
    parts = [f"over {_pairs(drawn)}"] if drawn else []
    parts += [f"over {_n(batches, 0, 'seed')} where batches differ"] if batches else []
    return f"means {' and '.join(parts)}"


def _pairs(found: Iterable[Likeness]) -> str:
    return _n((like.pairs for like in found), 0, "pair")


def _pictured(masks: MaskPages, task: str, look: Mapping[str, Look]) -> dict[str, ArmMasks]:
    """Of each task the sparsest tickets: one of magnitude, and one of another criterion."""
    known = {arm.arm: arm for arm in masks.arms if arm.task == task and arm.arm in look and arm.picture}
    tickets = [one for one in look.values() if one.arm in known and not one.quiet]
    tickets.sort(key=lambda one: -(one.sparsity or 0.0))
    chosen = {
        kind: next((one for one in tickets if (one.family == "magnitude") is (kind == "magnitude")), None)
        for kind in ("magnitude", "other")
    }
    return {kind: known[one.arm] for kind, one in chosen.items() if one is not None}


def _n(numbers: Iterable[int], asked: int, what: str, each: str = "") -> str:
    """How many things numbers rest on: ``n = 1 to 2 of 5 seeds an arm``.

    Args:
        asked: how many there should be; 0 where that is not known.
    """
    known = list(numbers)
    low, high = min(known, default=0), max(known, default=0)
    span = str(low) if low == high else f"{low} to {high}"
    most = max(asked, high)
    things = count(most, what) if asked else f"{span} {what}{'' if high == 1 else 's'}"
    return " ".join(["n =", *([span, "of"] if asked else []), things, *([each] if each else [])])


def _figure(name: str, title: str, caption: str, drawn: Drawn | None) -> PageFigure | None:
    return None if drawn is None else PageFigure(name, title, caption, drawn)


def _there(figures: Iterable[PageFigure | None]) -> tuple[PageFigure, ...]:
    return tuple(figure for figure in figures if figure is not None)
