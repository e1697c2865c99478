"""Contrasts: claims about arms that a config registers."""

import pytest
from pydantic import ValidationError

from rlottery.config import Config, config_to_dict
from rlottery.config.contrasts import Contrast, RegisteredContrast

ARMS = [
    {"criterion": "magnitude", "sparsity": [0.8, 0.9]},
    {"criterion": "taylor", "sparsity": [0.8, 0.9]},
    {"name": "random", "control": "random", "of": "taylor-90"},
]


def study(*contrasts, **others):
    return Config.model_validate({"tasks": ["Pendulum-v1"], "seeds": [0], "contrasts": contrasts, **others})


def parts(claim):
    return list(Contrast.model_validate(claim).parts())


def test_one_sided_claims_chains_and_differences_of_differences():
    assert parts("a > b") == [RegisteredContrast(("a",), ("b",), False, "score")]
    assert parts("a  vs dense") == [RegisteredContrast(("a",), ("dense",), True, "score")]
    assert [(part.plus, part.minus) for part in parts("a > b > c")] == [(("a",), ("b",)), (("b",), ("c",))]
    # (a - b) - (c - d) = (a + d) - (c + b)
    assert parts({"claim": "a - b > c - d", "measure": "area"}) == [
        RegisteredContrast(("a", "d"), ("c", "b"), False, "area")
    ]


@pytest.mark.parametrize("claim", ["a > b", "a-90 vs b.2", "a - b > c - d"])
def test_a_contrast_reads_like_its_claim(claim):
    assert [str(part) for part in parts(claim)] == [claim]


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("a", "must compare arms"),
        ("", "must compare arms"),
        ("a>b", "with spaces around the signs"),
        ("a < b", "must have the better arm first, b > a, not"),
        ("a - b < c - d < e - f", "e - f > c - d > a - b"),
        ("a < b > c", "must have one arm, whose name has no spaces, or A - B on each side"),
        ("my arm > b", "must have one arm, whose name has no spaces, or A - B on each side"),
        ("a > ", "on each side"),
        ("a b > c", "on each side"),
        ("a - b - c > d", "on each side"),
        ("a - - > b", "on each side"),
        ("a > b - c", "a difference with a difference"),
        ("a > a", "names a twice"),
        ("a - b > c - b", "names b twice"),
        ("a > b vs c", "may have vs only once"),
        (["a", "b"], "must be a claim about arms"),
        ({"claim": "a > b", "measure": "return"}, "must be score or area"),
        ({"measure": "area"}, "Field required"),
    ],
)
def test_a_claim_that_makes_no_sense_says_why(claim, said):
    with pytest.raises(ValidationError, match=said):
        Contrast.model_validate(claim)


def test_contrasts_name_arms_of_the_study():
    asked = study("taylor-90 > magnitude-90", "random vs dense", arms=ARMS)
    assert [str(part) for part in asked.registered_contrasts] == ["taylor-90 > magnitude-90", "random vs dense"]
    with pytest.raises(ValidationError, match="there is no arm 'taylor'; this study's arms are dense, magnitude-80"):
        study("taylor > random", arms=ARMS)
    with pytest.raises(ValidationError, match="compare arms of `arms`: list the arms there, and leave out `pruning`"):
        study("taylor-80 > magnitude-80")


@pytest.mark.parametrize(
    "others",
    [
        ("taylor-80 > taylor-90 > random",),
        ("random > taylor-90",),
        ("random vs taylor-90",),
        ("taylor-90 - taylor-80 > magnitude-90 - dense", "taylor-90 - magnitude-90 > taylor-80 - dense"),
        ("magnitude-80 > dense > magnitude-80",),
    ],
)
def test_the_same_arms_are_compared_once(others):
    with pytest.raises(ValidationError, match=r"compares the same as .* in contrasts\.\d; leave one of the two out"):
        study("taylor-90 > random", *others, arms=ARMS)
    study("taylor-90 > random", {"claim": "taylor-90 > random", "measure": "area"}, arms=ARMS)


def test_settings_are_saved_as_they_were_given():
    asked = study("taylor-90 > random", {"claim": "random vs dense", "measure": "area"}, arms=ARMS)
    plain = config_to_dict(asked)
    assert plain["contrasts"] == ["taylor-90 > random", {"claim": "random vs dense", "measure": "area"}]
    assert Config.model_validate(plain) == asked
    assert "contrasts" not in config_to_dict(study(arms=ARMS))
