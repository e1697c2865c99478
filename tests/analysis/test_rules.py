"""The rules of the verdict in sentences."""

from rlottery.analysis.rules import rules_as_sentences
from tests.analysis.made import config


def test_they_have_the_numbers_of_the_config() -> None:
    text = " ".join(rules_as_sentences(config(5, margin=0.125, level=0.01, least_seeds=7, saturated_within=0.03)))
    for part in ("margin is 0.125", "at 1 %", "a 98 % interval", "fewer than 7 seeds", "within 0.03 of the gain"):
        assert part in text
