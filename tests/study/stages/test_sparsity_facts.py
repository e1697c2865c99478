import numpy as np
import pytest

from rlottery.pruning.masks import make_mask
from rlottery.study.stages.sparsity_facts import sparsity_facts


def test_what_is_recorded_about_a_mask_counted_by_hand() -> None:
    """Two inputs, three hidden units, one output. Only the first unit has both an input and a way to the output."""
    first, second = np.array([[1, 1, 0], [1, 0, 0]], bool), np.array([[1], [0], [1]], bool)
    layers = {"fc1": first, "out": second}
    rank_one = {"actor": {"fc1": 0.75, "out": None}}
    facts = sparsity_facts(make_mask({"actor": layers}, task="t", seed=0, rank_one=rank_one))
    assert facts["sparsity"] == {"actor": pytest.approx(1 - 5 / 9)}
    assert facts["effective"] == {"actor": pytest.approx(1 - 3 / 9)}  # both weights into the unit and the one out of it
    assert facts["units"] == {"actor": [1, 3]} and facts["rank_one"] == {"actor": 0.75}


def test_masks_without_scores_have_no_rank_one_and_networks_without_hidden_layers_no_units() -> None:
    facts = sparsity_facts(make_mask({"q": {"out": np.ones((2, 2), bool)}}, task="t", seed=0))
    assert facts["units"] == {"q": [0, 0]} and "rank_one" not in facts
