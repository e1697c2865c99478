"""What `rlottery check` shows of a task or a mask file: what it is, and what is wrong with it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlottery.agents.description import Spec, kernel_shapes
from rlottery.config import Config, Task
from rlottery.errors import MaskError, TaskError
from rlottery.pruning.effective import check_chained, depends_on_an_input, leads_to_an_output, on_a_path
from rlottery.pruning.masks import Mask, by_network, kept_weights, sparsity_of
from rlottery.pruning.plain_mask_file import PLAIN, read_any_mask
from rlottery.pruning.ranking import BoolArray
from rlottery.pruning.starved import starved_layers
from rlottery.report.wording import plural
from rlottery.safety.printable import on_one_line
from rlottery.storage.trial_record import Trial
from rlottery.study.planning.action_kinds import check_actions, learners
from rlottery.study.planning.checks import check_every_group, check_mask_fits
from rlottery.study.planning.network_sizes import networks_of, task_spec
from rlottery.study.planning.trials import deviation_text, how_to_allow, try_task, try_tasks


class Checked(NamedTuple):
    """What a task or a mask is, and what is wrong with it."""

    page: RenderableType
    problems: list[str]


def check_task(name: str, study: Config | None = None, say: Callable[[str], None] = lambda line: None) -> Checked:
    """Try a task, with the arguments and the exceptions that a study gives it if the study has it.

    Args:
        say: called from another thread with a line to show, if this takes long.
    """
    task = next((task for task in study.tasks if task.id == name), None) if study is not None else None
    try:
        task = task or Task(id=name)
        trial = try_task(task, say, rendering=True)
    except TaskError as error:
        return Checked(Group(), [str(error)])
    except ValidationError as error:
        return Checked(Group(), [error.errors()[0]["msg"]])
    refused = [kind for kind in trial.deviations if kind not in task.allow]
    allowed = [f"Allowed by the study: {trial.deviations[kind]}" for kind in trial.deviations if kind in task.allow]
    lines = [Text(line) for line in (*allowed, *trial.notes)]
    problems = [f"{name}: {deviation_text(trial, kind)} {how_to_allow(study, task, refused)}" for kind in refused]
    if study is not None:
        try:
            check_actions(study, name, Spec.of(trial))
        except TaskError as error:
            problems.append(str(error))
    return Checked(Group(Text(name, style="italic"), _facts(trial), *lines), problems)


def _facts(trial: Trial) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    success = f"info[{trial.success_key!r}]" if trial.success_key else "not reported: scores are returns"
    end = "" if trial.ended else ", where the trial stopped"
    rows = {
        "observation": plural(trial.observation_size, "number"),
        "action": f"one of {trial.action_size}" if trial.discrete else plural(trial.action_size, "number"),
        "algorithms": ", ".join(learners(Spec.of(trial))),
        "success": success,
        "first episode": f"{plural(trial.steps, 'step')}{end}",
        "speed": f"{trial.steps_per_second:,.0f} steps/s",
        "rendering": trial.rendering,
    }
    for name, text in rows.items():
        table.add_row(name, Text(text))
    return table


def is_mask(thing: str) -> bool:
    """Whether an argument of `rlottery check` means a mask file."""
    return Path(thing).is_file() or Path(thing).suffix in (".pkl", *PLAIN)


def check_mask(path: Path, study: Config | None = None) -> Checked:
    """Read a mask file, and check its networks by themselves and against those of a study's tasks.

    Raises:
        TaskError: a task of the study can't be used.
    """
    try:
        mask = read_any_mask(path)
    except MaskError as error:
        return Checked(Group(), [str(error)])
    notes, problems = [], []
    try:
        check_every_group(mask)
        notes = [
            f"{group}.{layer.in_words}" for group, layers in mask.groups.items() for layer in starved_layers(layers)
        ]
    except MaskError as error:
        problems.append(f"{path}: {error}")
    if study is not None:
        try_tasks(study)  # notes the sizes: environments are made in processes of their own
        for task in study.tasks:
            try:
                check_mask_fits(mask, kernel_shapes(networks_of(study, task, task_spec(task))))
                notes.append(f"Its shapes fit the networks of {task.id}.")
            except MaskError as error:
                problems.append(f"{path} doesn't fit the networks of {task.id}. {error}")
    lines = (Text(on_one_line(note)) for note in notes)
    return Checked(Group(Text(str(path), style="italic"), _origin(mask), _layers(mask), *lines), problems)


def _origin(mask: Mask) -> Text:
    about = mask.metadata
    keys = ("task", "seed", "method", "criterion") if about["task"] else ("criterion",)
    made = ", ".join(f"{key} {about[key]}" for key in keys)
    lines = [on_one_line(made)]
    for group, layers in mask.groups.items():
        total, kept = sum(layer.size for layer in layers.values()), kept_weights(layers)
        shares = f"sparsity {_percent(sparsity_of(layers))}, asked for {_percent(about['sparsity_asked'][group])}"
        lines.append(f"{on_one_line(group)}: {kept:,} of {total:,} weights kept, {shares}")
    return Text("\n".join(lines))


def _layers(mask: Mask) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("layer", header_style="dim", overflow="fold")
    for heading in ("inputs x outputs", "kept", "on a path", "sparsity", "dead", "no input"):
        table.add_column(heading, justify="right", header_style="dim")
    for group, layers in mask.groups.items():
        for network in by_network(layers).values():
            for (path, layer), (useful, *idle) in zip(network.items(), _paths_through(network), strict=True):
                kept, share = f"{np.count_nonzero(layer):,}", _percent(sparsity_of({path: layer}))
                shape = " x ".join(map(str, layer.shape))
                table.add_row(on_one_line(f"{group}.{path}"), shape, kept, useful, share, *idle)
    return table


def _paths_through(network: Mapping[str, BoolArray]) -> list[tuple[str, str, str]]:
    """Of each layer, how many survivors are on a path from input to output, and how many of its units have no path to
    an output of the network, or none from an input."""
    layers = list(network.values())
    try:
        check_chained(network)
    except MaskError:
        return [("-", "-", "-")] * len(layers)
    reach = zip(on_a_path(layers), leads_to_an_output(layers)[1:], depends_on_an_input(layers)[1:], strict=True)
    return [
        (f"{np.count_nonzero(useful):,}", str(np.count_nonzero(~lives)), str(np.count_nonzero(lives & ~varies)))
        for useful, lives, varies in reach
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
