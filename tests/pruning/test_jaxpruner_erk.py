"""Allocations by ERK equal those of google-research/jaxpruner; fixtures/jaxpruner_erk.py wrote them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rlottery.pruning.allocation import allocate_erk

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "jaxpruner_erk.json").read_text())


@pytest.mark.parametrize("given", FIXTURE, ids=lambda given: f"{given['widths']} at {given['sparsity']}")
def test_every_layer(given: dict[str, Any]) -> None:
    """It rounds the pruned weights of each layer down, so that a network keeps up to a weight per layer more. We round
    the number of all weights."""
    shapes = {f"layer_{i}": shape for i, shape in enumerate(pairwise(given["widths"]))}
    counts = allocate_erk(shapes, given["sparsity"])
    densities = zip(shapes.items(), given["layers"], strict=True)
    theirs = {path: (1 - sparsity) * shape[0] * shape[1] for (path, shape), sparsity in densities}
    assert all(abs(counts[path] - theirs[path]) < 2 for path in shapes)
    assert 0 <= round(sum(theirs.values())) - sum(counts.values()) <= len(shapes)
