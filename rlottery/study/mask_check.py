"""What `rlottery check` shows of a mask file: what it contains, and what is wrong with it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlottery.agents.description import kernel_shapes
from rlottery.config import Config
from rlottery.errors import MaskError
from rlottery.pruning.fold import depends_on_an_input, leads_to_an_output
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Mask, by_network, kept_weights, sparsity_of
from rlottery.pruning.ranking import BoolArray
from rlottery.study.planning.checks import check_every_group, check_mask_fits
from rlottery.study.planning.network_sizes import networks_of, task_spec


class CheckedMask(NamedTuple):
    """What a mask file contains, and what is wrong with it."""

    page: RenderableType
    problems: list[str]


def is_mask(thing: str) -> bool:
    """Whether an argument of `rlottery check` means a mask file."""
    return Path(thing).exists() or Path(thing).suffix == ".pkl"


def check_mask(path: Path, study: Config | None = None) -> CheckedMask:
    """Read a mask file, and check its networks by themselves and against those of a study's tasks.

    Raises:
        TaskError: an environment of the study can't be made.
    """
    try:
        mask = read_mask(path)
    except MaskError as error:
        return CheckedMask(Group(), [str(error)])
    fits, problems = [], []
    try:
        check_every_group(mask)
    except MaskError as error:
        problems.append(f"{path}: {error}")
    if study is not None:
        for task in study.tasks:
            try:
                check_mask_fits(mask, kernel_shapes(networks_of(study, task, task_spec(task))))
                fits.append(Text(f"Its shapes fit the networks of {task.id}."))
            except MaskError as error:
                problems.append(f"{path} doesn't fit the networks of {task.id}. {error}")
    return CheckedMask(Group(Text(str(path), style="italic"), _origin(mask), _layers(mask), *fits), problems)


def _origin(mask: Mask) -> Text:
    about = mask.metadata
    made = ", ".join(f"{key} {about[key]}" for key in ("task", "seed", "method", "criterion"))
    lines = [_printable(made)]
    for group, layers in mask.groups.items():
        total, kept = sum(layer.size for layer in layers.values()), kept_weights(layers)
        shares = f"sparsity {_percent(sparsity_of(layers))}, asked for {_percent(about['sparsity_asked'][group])}"
        lines.append(f"{_printable(group)}: {kept:,} of {total:,} weights kept, {shares}")
    return Text("\n".join(lines))


def _layers(mask: Mask) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("layer", header_style="dim", overflow="fold")
    for heading in ("inputs x outputs", "kept", "sparsity", "dead", "no input"):
        table.add_column(heading, justify="right", header_style="dim")
    for group, layers in mask.groups.items():
        for network in by_network(layers).values():
            for (path, layer), idle in zip(network.items(), _idle_units(list(network.values())), strict=True):
                kept, share = f"{np.count_nonzero(layer):,}", _percent(sparsity_of({path: layer}))
                shape = " x ".join(map(str, layer.shape))
                table.add_row(_printable(f"{group}.{path}"), shape, kept, share, *idle)
    return table


def _idle_units(layers: Sequence[BoolArray]) -> list[tuple[str, str]]:
    """Of each layer's outputs, how many have no path to an output of the network, or none from an input."""
    if any(before.shape[1] != after.shape[0] for before, after in pairwise(layers)):
        return [("-", "-")] * len(layers)
    reach = zip(leads_to_an_output(layers)[1:], depends_on_an_input(layers)[1:], strict=True)
    return [(str(np.count_nonzero(~lives)), str(np.count_nonzero(lives & ~varies))) for lives, varies in reach]


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _printable(text: str) -> str:
    # Rich passes escape characters on to the terminal, which would obey them.
    return text if text.isprintable() else repr(text)[1:-1]
