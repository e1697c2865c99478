import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlottery.errors import MaskError
from rlottery.pruning.ranking import keep_highest

few_values = st.sampled_from([0.0, -0.0, 0.25, 1.0, 1e-40, np.inf, -np.inf])


def by_sorting(scores: list[float], count: int) -> list[bool]:
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return [i in order[:count] for i in range(len(scores))]


@given(
    scores=hnp.arrays(np.float32, st.integers(1, 40), elements=few_values | st.floats(-1, 1, width=32)),
    data=st.data(),
)
def test_equals_a_full_sort_by_score_then_index(scores: np.ndarray, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, scores.size))
    assert keep_highest(scores, count).tolist() == by_sorting(scores.tolist(), count)


def test_the_lowest_index_wins_a_tie() -> None:
    scores = np.array([1, 2, 1, 2, 1], dtype=np.float32)
    assert keep_highest(scores, 3).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("count", [-1, 3])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(MaskError, match=f"Can't keep {count} of 2"):
        keep_highest(np.ones(2), count)


def test_nan_has_no_rank() -> None:
    with pytest.raises(MaskError, match="NaN"):
        keep_highest(np.array([1.0, np.nan]), 1)
