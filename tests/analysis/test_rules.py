"""The rules of the verdict in sentences."""

import pytest

from rlottery.analysis.rules import rules_as_sentences
from tests.analysis.made import config


@pytest.mark.parametrize(("level", "seeds"), [(0.05, 5), (0.1, 4), (0.2, 3), (0.01, 7)])
def test_they_name_the_fewest_seeds_for_which_sign_flips_can_reach_the_level(level: float, seeds: int) -> None:
    assert 0.5**seeds <= level < 0.5 ** (seeds - 1)
    rules = config(5).verdict.model_copy(update={"level": level})
    text = " ".join(rules_as_sentences(config(5).model_copy(update={"verdict": rules})))
    assert f"with fewer than {seeds} seeds a t-test" in text
