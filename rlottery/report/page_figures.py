"""The figures of the page with their captions."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from markupsafe import Markup

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.digits import number_formatter
from rlottery.analysis.mask_analysis import ArmMasks, MaskAnalysis, MaskOverlap
from rlottery.analysis.scores import TaskScores
from rlottery.config import file_name
from rlottery.processes.shared_calls import call_all
from rlottery.report import mask_figures, mask_overlap_figures, over_sparsity, score_figures
from rlottery.report.arm_rows import have_one_sparsity
from rlottery.report.arm_styles import Look, looks
from rlottery.report.contents import Contents
from rlottery.report.curve_panels import MOST_CURVES, below_panels, curve_panels
from rlottery.report.drawn import LIGHT, Drawn
from rlottery.report.figure_data import data_as_json
from rlottery.report.inline_svg import Inline, css_colour, inline, letters_of
from rlottery.report.labels import drawn_name
from rlottery.report.mask_picture import mask_picture
from rlottery.report.mask_tables import partners_sentence
from rlottery.report.wording import BOOTSTRAP, METRIC_NAMES, last_evaluations, plural
from rlottery.storage.paths import DENSE

_MANY_ROWS = 40
"""With so many masks (arms times tasks), drawing takes longer than starting a process: figures have a row for each."""


@dataclass(frozen=True)
class PageKey:
    """An entry of a legend on the page: a name with its line, as CSS."""

    name: str
    colour: str
    width: float
    dashes: str


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page.

    Attributes:
        name: of its files, and the prefix of its ids.
        caption: what it shows, with unit, number of seeds and kind of interval.
        note: what its marks mean; empty where it says so itself.
    """

    name: str
    title: str
    caption: str
    drawn: Drawn
    note: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether it shows every weight of a mask; such figures are folded."""
        return self.name.startswith("mask-picture")

    @property
    def alt(self) -> str:
        """What it shows, for screen readers."""
        return self.drawn.alt

    @property
    def panels(self) -> list[Markup]:
        """Its panels as parts of the page. Names from the study are outlines in them, or escaped."""
        return [Markup(panel) for panel in self.inlined.panels]

    @property
    def rest(self) -> Markup:
        """What lies outside of the panels. The page has it for files that are saved from it."""
        return Markup(self.inlined.rest)

    @property
    def panel_pixels(self) -> int:
        """The natural width of a panel. A point is 4/3 of a page's pixel."""
        return round(4 / 3 * max(cell.width for cell in self.drawn.cells))

    @property
    def keys(self) -> list[PageKey]:
        """Its legend."""
        return [
            PageKey(drawn_name(key.name), css_colour(key.colour), key.width, _dashes(key.dash, key.width))
            for key in self.drawn.keys
        ]

    @property
    def data(self) -> Markup:
        """Its numbers as JSON."""
        return Markup(data_as_json(self.drawn.blocks, [cell.scale for cell in self.drawn.cells]))

    @cached_property
    def inlined(self) -> Inline:
        """The figure as parts of the page."""
        return inline(self.drawn, self.name)


@dataclass(frozen=True)
class _Planned:
    """A figure that is yet to be drawn, in this process or another one; its other attributes are `PageFigure`'s.

    Attributes:
        draw: draws it, or gives None if there is nothing to draw.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Drawn | None]
    note: str = ""

    def __call__(self) -> PageFigure | None:
        """Draw the figure with its parts of the page."""
        if (drawn := self.draw()) is None:
            return None
        figure = PageFigure(self.name, self.title, self.caption, drawn, self.note)
        _ = figure.inlined  # kept with the figure
        return figure


def letters(figures: Iterable[PageFigure]) -> Markup:
    """The outlines of the letters of all figures of a page."""
    return Markup(letters_of(figure.inlined for figure in figures))


def _dashes(dash: Any, width: float) -> str:
    """Matplotlib's line style, whose lengths are multiples of the line's width, as that of an SVG."""
    return "none" if isinstance(dash, str) else " ".join(f"{part * width:g}" for part in dash[1])


def page_figures(contents: Contents, look: Mapping[str, Look], processes: int = 1) -> dict[str, list[PageFigure]]:
    """Section of the page -> its figures, drawn once in the colours of the light theme; the page has its own.

    Args:
        processes: how many may draw at once, where there is much to draw.
    """
    planned = {
        "sparsity": _sparsity_figures(contents, look),
        "curves": [_curves(contents, scores, look) for scores in contents.scores if _has_curves(contents, scores)],
        "across": _across(contents, look),
        "masks": _mask_figures(contents, look),
    }
    # Figures of runs stay here: their evaluations take as long to be passed on as to be drawn.
    own, shared = [*planned["sparsity"], *planned["curves"]], [*planned["masks"], *planned["across"]]
    drawn = call_all(own, shared, processes if len(contents.masks.arms) >= _MANY_ROWS else 1)
    figures = {figure.name: figure for figure in drawn if figure is not None}
    return {name: [figures[one.name] for one in plans if one.name in figures] for name, plans in planned.items()}


def main_figure(contents: Contents) -> PageFigure | None:
    """The figure that shows most: normalised scores over sparsity, or the scores of the only task; None without any."""
    look = looks(contents.scores)
    drawn = (plan() for plan in _sparsity_figures(contents, look))
    return next((figure for figure in drawn if figure is not None), None)


def _sparsity_figures(contents: Contents, look: Mapping[str, Look]) -> list[_Planned]:
    """Scores over sparsity: of all tasks if there are several, and of each task."""
    return [*_over_all_tasks(contents, look), *(_over_sparsity(contents, scores, look) for scores in contents.scores)]


def _over_sparsity(contents: Contents, scores: TaskScores, look: Mapping[str, Look]) -> _Planned:
    task = scores.task
    shown = [a for a in scores.arms if a.arm == DENSE or (a.arm in look and look[a.arm].sparsity is not None)]
    n = _n((len(arm.scores) for arm in shown), len(contents.seeds), "seed", "per arm")
    arms = {arm.arm for arm in shown}
    diverged = sum(run.status == "diverged" and run.arm in arms for run in scores.every_run)
    verb = "counts" if diverged == 1 else "count"
    counted = f" {plural(diverged, 'run')} diverged and {verb} with the score of untrained agents." if diverged else ""
    return _Planned(
        f"sparsity-{file_name(task)}",
        task,
        f"{task}: mean {METRIC_NAMES[scores.metric]} of {n}, with its {BOOTSTRAP}; dots: single seeds. "
        f"Score: {last_evaluations(contents.score_evaluations)} of a run.{counted}",
        partial(over_sparsity.score_over_sparsity, scores, look, LIGHT),
        _marks(arms, look),
    )


def _has_curves(contents: Contents, scores: TaskScores) -> bool:
    """Whether there is more than final scores alone, which are all that other tools may have kept."""
    return not contents.elsewhere or any(len(run.evaluations) > 1 for run in scores.every_run)


def _curves(contents: Contents, scores: TaskScores, look: Mapping[str, Look]) -> _Planned:
    task, runs = scores.task, scores.every_run
    of = "" if contents.elsewhere else " of the deterministic policy"
    drawn = [run for run in runs if run.evaluations and run.arm in look]
    done = Counter(run.arm for run in drawn if run.status == "done")
    n = _n((done[run.arm] for run in drawn), len(contents.seeds), "seed", "per arm")
    most = max(Counter(run.arm for run in drawn).values(), default=0)
    thin = (
        "Every seed is drawn, so there is no interval"
        if most <= MOST_CURVES
        else f"Thin: the first {MOST_CURVES} seeds of each arm; no interval"
    )
    below = ""
    if (lowest := below_panels(runs, look)) is not None:
        below = f" Before training, some runs score as low as {number_formatter([lowest])(lowest)}, below the panels."
    return _Planned(
        f"curves-{file_name(task)}",
        task,
        f"{task}: score{of} over environment steps. Thick: mean of the runs that are done, {n}. {thin}.{below}",
        partial(curve_panels, task, runs, look, LIGHT),
    )


def _over_all_tasks(contents: Contents, look: Mapping[str, Look]) -> list[_Planned]:
    """Normalised scores over sparsity, if there are several tasks."""
    arms, tasks, n, without = _on_the_same_tasks(contents)
    if tasks < 2:
        return []
    figure = _Planned(
        "normalised-over-sparsity",
        "All tasks",
        f"All tasks: normalised score (0 = untrained, 1 = dense), mean over {plural(tasks, 'task')} ({n}), with its "
        f"{BOOTSTRAP}.{without}",
        partial(over_sparsity.normalised_over_sparsity, arms, look, LIGHT),
        _marks((arm.arm for arm in arms), look),
    )
    return [figure]


def _marks(arms: Iterable[str], look: Mapping[str, Look]) -> str:
    """What the marks of a figure of these arms mean."""
    if have_one_sparsity(look[arm] for arm in arms if arm in look):
        return "Filled markers: means of tickets. Hollow: of controls. Line and band: dense agents."
    return (
        "Fewer weights remain further to the right. Filled markers: tickets. Hollow: controls. Line and band: dense "
        "agents."
    )


def _across(contents: Contents, look: Mapping[str, Look]) -> list[_Planned]:
    """The figures of arms over tasks; none for a single task, of which the other figures show everything."""
    arms, tasks, n, without = _on_the_same_tasks(contents)
    if tasks < 2:
        return []
    over = f"{plural(tasks, 'task')}, {n}.{without}"
    return [
        _Planned(
            "aggregates",
            "Aggregates over tasks",
            f"Normalised score (0 = untrained, 1 = dense), with its {BOOTSTRAP}; {over} The interquartile mean is over "
            "runs, mean and median are over tasks. Line: mean of dense agents.",
            partial(score_figures.aggregates, arms, look, LIGHT),
        ),
        _Planned(
            "profiles",
            "Performance profiles",
            f"Performance profiles: share of runs that reach at least each normalised score, with its {BOOTSTRAP}; "
            f"{over} Higher and further to the right is better.",
            partial(score_figures.profiles, arms, look, LIGHT),
        ),
        _Planned(
            "improvement",
            "Probability of improvement",
            "Probability that a run of the arm scores higher than a run of the other (ties count half), with its "
            f"{BOOTSTRAP}; {over} Line: even chances.",
            partial(score_figures.improvement, arms, look, LIGHT),
        ),
    ]


def _on_the_same_tasks(contents: Contents) -> tuple[list[AcrossTasks], int, str, str]:
    """The dense agents and the arms that are done on the same tasks as most others.

    Means over different tasks are not comparable, so an unfinished study must not look like a ranking.

    Returns:
        The arms, their number of tasks, their number of runs, and a sentence about arms on other tasks.
    """
    across = contents.across
    counted = Counter(arm.tasks for arm in across if arm.arm != DENSE)
    tasks = max(counted, key=lambda tasks: (counted[tasks], len(tasks)), default=())
    arms = [arm for arm in across if arm.arm == DENSE or arm.tasks == tasks]
    left_out = [arm.arm for arm in across if arm.arm != DENSE and arm.tasks != tasks]
    without = f" Not drawn, because they are done on other tasks: {', '.join(left_out)}." if left_out else ""
    of_tasks = [arm for arm in arms if arm.arm != DENSE]
    n = _n((arm.runs for arm in of_tasks), len(tasks) * len(contents.seeds), "run", "per arm")
    return arms, len(tasks), n, without


def _mask_figures(contents: Contents, look: Mapping[str, Look]) -> list[_Planned]:
    masks, seeds = contents.masks, len(contents.seeds)
    tasks = masks.tasks

    def means(arms: Iterable[ArmMasks]) -> str:
        n = _n((len(arm.seeds) for arm in arms), seeds, "seed", "per arm")
        return f"Means over {n}, given next to the rows; no interval."

    acting = masks.arms[0].acting if masks.arms else ""
    critics = "the critics, and " if acting == "actor" else ""
    between = [found for found in masks.overlaps if found.kind == "task"]
    return [
        _Planned(
            "mask-survivors",
            "Weights that remain in every layer",
            f"Share of the weights of every layer that remain, in %. {means(masks.arms)}",
            partial(mask_figures.survivors_figure, masks, look, LIGHT),
        ),
        _Planned(
            "mask-idle-units",
            "Idle units",
            f"Share of the hidden units that have no path to an output or from an input, in %. {means(masks.arms)}",
            partial(mask_figures.idle_units, masks, look, LIGHT),
        ),
        *(
            _Planned(
                f"mask-inputs-{file_name(task)}",
                f"Inputs kept on {task}",
                f"{task}: share of each observation entry's weights in the {acting}'s first layer that remain. "
                f"{means(arm for arm in masks.arms if arm.task == task)} Cross: read in no seed; number: seeds in "
                f"which it is not read. The table of inputs has {critics}the saliency of each entry.",
                partial(mask_figures.input_strip, masks, task, look, LIGHT),
            )
            for task in tasks
        ),
        _Planned(
            "mask-overlap",
            "Mask overlap",
            f"Mask overlap: Jaccard index of the weights that two masks keep; {_overlap_means(masks)}, given next to "
            f"the rows; no interval.{partners_sentence(masks)}",
            partial(mask_overlap_figures.overlap_figure, masks, look, LIGHT),
        ),
        _Planned(
            "mask-overlap-tasks",
            "Mask overlap between tasks",
            f"Mask overlap between tasks: Jaccard index of the weights that masks keep, in %; means over "
            f"{_pairs(between)} of masks with the same seed; no interval.",
            partial(mask_overlap_figures.overlap_between_tasks, masks, look, LIGHT),
        ),
        *(
            _Planned(
                f"mask-picture-{kind}-{file_name(task)}",
                f"{arm.arm} on {task}",
                f"{arm.arm} on {task}: the {arm.acting}'s mask of one seed, one point per weight; n = 1 seed, no "
                "interval.",
                partial(mask_picture, arm, look, LIGHT),
            )
            for task in tasks
            for kind, arm in _pictured(masks, task, look).items()
        ),
    ]


def _overlap_means(masks: MaskAnalysis) -> str:
    """What the rows of the figure are means over."""
    drawn = [found for found in masks.overlaps if found.kind in ("seed", "criterion")]
    batches = [len(arm.stability_seeds) for arm in masks.arms if arm.stability is not None]
    parts = [f"over {_pairs(drawn)}"] if drawn else []
    parts += [f"over {_n(batches, 0, 'seed')} where batches differ"] if batches else []
    return f"means {' and '.join(parts)}"


def _pairs(found: Iterable[MaskOverlap]) -> str:
    return _n((overlap.pairs for overlap in found), 0, "pair")


def _pictured(masks: MaskAnalysis, task: str, look: Mapping[str, Look]) -> dict[str, ArmMasks]:
    """The sparsest tickets of a task: one by magnitude, and one by another criterion."""
    known = {arm.arm: arm for arm in masks.arms if arm.task == task and arm.arm in look and arm.picture}
    tickets = [one for one in look.values() if one.arm in known and not one.quiet]
    tickets.sort(key=lambda one: -(one.sparsity or 0.0))
    chosen = {
        kind: next((one for one in tickets if (one.family == "magnitude") is (kind == "magnitude")), None)
        for kind in ("magnitude", "other")
    }
    return {kind: known[one.arm] for kind, one in chosen.items() if one is not None}


def _n(numbers: Iterable[int], asked: int, what: str, each: str = "") -> str:
    """The number of seeds or runs, of those `asked` for if that is not 0: ``n = 1 to 2 of 5 seeds per arm``."""
    known = list(numbers)
    low, high = min(known, default=0), max(known, default=0)
    span = str(low) if low == high else f"{low} to {high}"
    most = max(asked, high)
    things = plural(most, what) if asked else f"{span} {what}{'' if high == 1 else 's'}"
    return " ".join(["n =", *([span, "of"] if asked else []), things, *([each] if each else [])])
