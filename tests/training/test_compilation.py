import jax
import numpy as np
import pytest

from rlottery.training.compilation import _ROW, _all_finite

SIZES = (1, 5, _ROW - 1, _ROW, _ROW + 1, 3 * _ROW + 7)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_finite_is_seen_wherever_it_is(size: int) -> None:
    all_finite = jax.jit(_all_finite)
    numbers = np.random.default_rng(0).normal(size=size).astype(np.float32)
    numbers[[0, -1]] = np.finfo(np.float32).max
    assert all_finite(numbers)
    for bad in (np.nan, np.inf, -np.inf):
        for place in {0, size // 2, size - 1, min(size - 1, _ROW)}:
            spoilt = numbers.copy()
            spoilt[place] = bad
            assert not all_finite(spoilt)
