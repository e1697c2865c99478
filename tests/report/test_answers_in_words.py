"""Each pair of answers has a sentence of its own, which claims what the answers do and no more."""

import itertools
import re
from dataclasses import replace

import pytest

from rlottery.analysis.verdict import CLAIMS
from rlottery.report.answers_in_words import PAIRS, chip_of_word, pair_sentence, shade
from tests.report.contents import answer_of, compared

ANSWERS = {question: (*claims, "open") for question, claims in CLAIMS.items()}
EVERY = list(itertools.product((*ANSWERS["dense"], None), (*ANSWERS["random"], None)))
BETTER_THAN_DENSE = "better than dense agents"
MATCHES = "as good as dense agents"
BELOW_DENSE = "worse than dense agents by more than the margin"


def said(pair, **how):
    return pair_sentence(pair, "x", **{"many": False, **how})


@pytest.mark.parametrize("many", [False, True])
def test_all_sentences_are_there_and_distinct(many):
    assert set(PAIRS) == set(EVERY) and len(EVERY) == 25
    sentences = [said(pair, many=many) for pair in EVERY]
    assert len(set(sentences)) == len(EVERY)
    assert not any(set(sentence) & set("{}<>") for sentence in sentences)


@pytest.mark.parametrize("pair", EVERY)
def test_a_sentence_claims_what_is_answered_and_nothing_else(pair):
    dense, random = pair
    for sentence in (said(pair), said(pair, many=True)):
        assert ("better than random masks" in sentence) is (random == "better")
        assert ("worse than random masks" in sentence) is (random == "worse")
        assert ("equivalent to random masks" in sentence) is (random == "equivalent")
        assert (BETTER_THAN_DENSE in sentence) is (dense == "superior")
        assert (MATCHES in sentence) is (dense == "non-inferior")
        assert (BELOW_DENSE in sentence) is (dense == "worse")
        assert ("winning" in sentence) is (random == "better" and dense in ("superior", "non-inferior"))
        assert ("against dense agents there is no answer" in sentence) is (dense is None is not random)
        assert ("against random masks there is no answer" in sentence) is (random is None is not dense)


@pytest.mark.parametrize("pair", EVERY)
def test_the_numbers_of_an_answer_have_a_place(pair):
    sentence = said(pair, dense=" (12)", random=" (34)")
    assert ("(12)" in sentence) is (pair[0] is not None)
    assert ("(34)" in sentence) is (pair[1] is not None)


@pytest.mark.parametrize("pair", [pair for pair in EVERY if None in pair and pair != (None, None)])
def test_why_a_question_has_no_answer_is_said_there(pair):
    sentence = said(pair, no_dense="no seeds", no_random="no control")
    assert ("against dense agents there is no answer (no seeds)" in sentence) is (pair[0] is None)
    assert ("against random masks there is no answer (no control)" in sentence) is (pair[1] is None)


@pytest.mark.parametrize("pair", [pair for pair in EVERY if "open" in pair])
def test_open_is_always_said_in_the_same_words(pair):
    sentence = said(pair)
    assert ("matches dense agents" in sentence) is (pair[0] == "open")
    assert bool(re.search("differs from random masks with the same layer counts", sentence)) is (pair[1] == "open")
    assert "open" in sentence and "whether" in sentence


def test_one_and_many():
    assert said(("open", "better")).startswith("x is better than random masks")
    assert said(("open", "better"), many=True).startswith("x are better than random masks")


@pytest.mark.parametrize(
    ("answer", "high", "small", "words"),
    [
        ("worse", -0.11, False, "x is far worse than random masks with the same layer counts"),
        ("worse", -0.09, False, "x is worse than random masks with the same layer counts"),
        ("worse", None, False, "x is worse than random masks with the same layer counts"),
        ("worse", -0.01, True, "the same layer counts, but the difference is shown to be less than the margin"),
        ("better", 0.09, True, "the same layer counts, but the difference is shown to be less than the margin"),
    ],
)
def test_how_much_better_or_worse(answer, high, small, words):
    comparison = replace(compared("Reacher-v5", "random-80", -0.2, 5), high=high)
    of = answer_of("random", answer, comparison, small=small)
    assert words in said(("open", answer), shade=shade(of, 0.1))


def test_answers_by_themselves():
    chips = [chip_of_word(word, question) for question in ("dense", "random") for word in (*ANSWERS[question], None)]
    assert len({chip.words for chip in chips}) == len(chips)
    assert [chip.words for chip in chips if chip.mark == "up"] == ["better than dense", "better than random"]
