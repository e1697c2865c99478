"""Magnitude masks equal those of torch.nn.utils.prune on the same weights; fixtures/torch_prune.py wrote them."""

import json
from pathlib import Path

import numpy as np
import pytest

from rlottery.pruning.allocation import allocate_erk, allocate_given, allocate_global, allocate_uniform
from rlottery.pruning.masks import GroupMask, select

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "torch_prune.json").read_text())
AMOUNTS = list(FIXTURE["l1_unstructured"])


def magnitudes(kernels: list[list[list[float]]]) -> dict[str, np.ndarray]:
    return {f"layer_{i}": np.abs(np.array(kernel, dtype=np.float32)) for i, kernel in enumerate(kernels)}


def rows(mask: GroupMask) -> list[list[str]]:
    return [["".join(str(int(x)) for x in row) for row in layer] for layer in mask.values()]


SCORES, LATER_SCORES = magnitudes(FIXTURE["kernels"]), magnitudes(FIXTURE["later_kernels"])
SHAPES = {path: layer.shape for path, layer in SCORES.items()}


@pytest.mark.parametrize("amount", AMOUNTS)
def test_each_layer_by_itself(amount: str) -> None:
    counts = allocate_given(SHAPES, [float(amount)] * len(SHAPES))
    assert rows(select(SCORES, counts)) == FIXTURE["l1_unstructured"][amount]


@pytest.mark.parametrize("amount", ["0.25", "0.5"])
def test_uniform_where_no_share_needs_rounding(amount: str) -> None:
    assert rows(select(SCORES, allocate_uniform(SHAPES, float(amount)))) == FIXTURE["l1_unstructured"][amount]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_one_ranking(amount: str) -> None:
    # No floor, which torch doesn't know.
    assert (
        rows(select(SCORES, allocate_global(SCORES, float(amount), floor=0))) == FIXTURE["global_unstructured"][amount]
    )


def test_what_was_pruned_stays_pruned() -> None:
    """torch's second amount is a share of what is left, ours of all: half of half is 0.75."""
    last = select(SCORES, allocate_global(SCORES, 0.5, floor=0))
    counts = allocate_global(LATER_SCORES, 0.75, floor=0, within=last)
    assert rows(select(LATER_SCORES, counts, last)) == FIXTURE["global_unstructured_twice"]

    last = select(SCORES, allocate_uniform(SHAPES, 0.5))
    counts = allocate_uniform(SHAPES, 0.75, within=last)
    assert rows(select(LATER_SCORES, counts, last)) == FIXTURE["l1_unstructured_twice"]


def test_the_fixture_tells_the_allocations_apart() -> None:
    masks = [FIXTURE[name]["0.8"] for name in ("l1_unstructured", "global_unstructured")]
    assert masks[0] != masks[1]
    assert rows(select(SCORES, allocate_erk(SHAPES, 0.8))) not in masks
    assert FIXTURE["global_unstructured_twice"] != rows(select(LATER_SCORES, allocate_global(LATER_SCORES, 0.75)))
