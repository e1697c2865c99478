"""Policies to export: the reader of .npz files of docs/export-formats.md, and folded policies of random networks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.export.folded_policy import FoldedPolicy, folded_policy
from rlottery.export.formats import Writer, writer_of
from rlottery.export.policy import Policy
from rlottery.export.torch_program import VARIABLE
from rlottery.pruning.fold import Layers, fold
from tests.agents.kernels.networks import random_network
from tests.peer_environments import peer_python

PAGE = Path(__file__).parents[2] / "docs" / "export-formats.md"


SHAPES: dict[str, tuple[Sequence[int], float | None, dict[str, Any]]] = {
    "sparse": ([17, 40, 30, 3], 0.15, {}),
    "dense": ([3, 16, 16, 1], None, {"squash": "clip"}),
    "tanh": ([17, 40, 30, 3], 0.05, {"activation": "tanh", "squash": "clip"}),
    "tanh and discrete": ([4, 16, 16, 2], None, {"activation": "tanh", "first_action": 0}),
    "discrete": ([6, 12, 4], 0.5, {"first_action": -1}),
    "normalised": ([5, 9, 2], 0.6, {"normalised": True}),
    "one unit": ([1, 1, 1], None, {}),
    "no hidden layer": ([4, 2], 0.5, {}),
    "unread inputs": ([300, 4, 2], 0.01, {"normalised": True}),
    "constant": ([3, 8, 8, 2], 0.0, {}),
    "constant and discrete": ([3, 8, 3], 0.0, {"first_action": 5}),
}
"""Widths, density and fields of random policies: the usual ones, and awkward ones."""


def policy_of_the_page() -> Any:
    """The class of the page's first Python block."""
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    reader = code[0].partition('policy = Policy("')[0]
    assert set(re.findall(r"^\s*(?:import|from) (\w+)", reader, flags=re.M)) == {"json", "numpy"}
    names: dict[str, Any] = {}
    exec(reader, names)
    return names["Policy"]


def writer_here(name: str, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """The writer of a format. Skips the test if there is no torch for it."""
    if name == "torch":
        monkeypatch.setenv(VARIABLE, str(peer_python("sb3")))
    return writer_of(name)


def never_read(*args: object, **named: object) -> None:
    """In place of a function that reads an agent."""
    raise AssertionError("the agent was read")


def random_policy(
    widths: Sequence[int],
    density: float | None,
    seed: int = 0,
    *,
    normalised: bool = False,
    name: str = "policy",
    **fields: Any,
) -> FoldedPolicy:
    """A folded policy of a random network.

    Args:
        widths: inputs, hidden units, outputs.
        density: share of weights that survive in each layer; None for a network without masks.
        normalised: whether it normalises observations.
        name: of the file.
        fields: of the `Policy`, such as `first_action` or `squash`; bounds of actions go from -2 to 3 otherwise.
    """
    rng = np.random.default_rng(seed)
    layers, masks = random_network(rng, widths, [density] * (len(widths) - 1))
    named: Layers = {f"layer_{index}": layer for index, layer in enumerate(layers)}
    named_masks = {} if density is None else {f"layer_{i}": {"kernel": mask} for i, mask in enumerate(masks)}
    whole = Policy(
        task="Pendulum-v1",
        kwargs={},
        seed=seed,
        arm="ticket",
        sparsity=1 - (1.0 if density is None else density),
        observation_size=widths[0],
        action_size=widths[-1],
        action_low=np.full(widths[-1], -2, np.float32),
        action_high=np.full(widths[-1], 3, np.float32),
        layers=(),
        agent_sha256="0" * 64,
    )
    if normalised:
        mean, variance = rng.normal(size=widths[0]), rng.uniform(0.0, 9.0, widths[0])
        whole = replace(whole, statistics=(mean.astype(np.float32), variance.astype(np.float32)))
    if "first_action" in fields:
        whole = replace(whole, action_low=np.empty(0, np.float32), action_high=np.empty(0, np.float32))
    whole = replace(whole, **fields)
    return replace(folded_policy(whole, fold(named, named_masks, whole.activation)), name=name)
