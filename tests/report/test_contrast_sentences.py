"""What contrasts show, in sentences."""

from dataclasses import replace

import pytest

from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import contrast_line, contrast_lines, outcome, registered
from tests.report.contents import contents, contrast_result

TASK = "drawer-close-v3"


@pytest.fixture(scope="module")
def made() -> Contents:
    return contents(seeds=(0, 1), evaluations=3)


@pytest.mark.parametrize(
    ("text", "found", "difference", "words"),
    [
        ("a > b", "plus", 0.3, "shown: a is better than b"),
        ("a > b", "minus", -0.3, "the opposite is shown: b is better than a"),
        ("a vs b", "plus", 0.3, "shown: a is better than b"),
        ("a vs b", "minus", -0.3, "shown: b is better than a"),
        ("a > b", "open", 0.05, "open"),
        ("a > b", "open", -0.3, "open: its whole interval is below 0"),
        ("a vs b", "open", -0.3, "open"),
    ],
)
def test_outcomes_in_words(text, found, difference, words):
    assert outcome(contrast_result(text, TASK, found, difference)) == words


def test_a_difference_of_differences():
    row = replace(contrast_result("a > b", TASK, "plus", 0.3), text="a - b > c - d", plus=("a", "d"), minus=("c", "b"))
    assert outcome(row) == "shown: a \N{MINUS SIGN} b is larger than c \N{MINUS SIGN} d"


def test_when_it_was_registered(made):
    row = contrast_result("a > b", TASK, "open", 0.0)
    for claims, words in (
        ({("a > b", "score"): 0}, "registered before the first run"),
        ({("a > b", "score"): 1}, "registered after 1 run had ended"),
        ({("a > b", "area"): 1}, "registered; not recorded when"),
    ):
        assert registered(row, replace(made, claims=claims)) == words
    assert registered(replace(row, origin="against dense"), made) == "not registered; a default comparison"


def test_a_line_has_the_pool_first_then_where_it_is_shown_then_the_rest(made):
    rows = [
        contrast_result("a > b", "Reacher-v5", "open", 0.05),
        contrast_result("a > b", TASK, "plus", 0.3, adjusted=0.004),
        contrast_result("a > b", "InvertedDoublePendulum-v5", None, 0.0, why="a has 2 of 5 seeds that are needed"),
        contrast_result("a > b", None, "plus", 0.2, adjusted=0.03),
    ]
    assert contrast_line(rows, replace(made, claims={("a > b", "score"): 3})) == (
        "Over 3 tasks, a is better than b by 0.20 [90 % interval 0.10 to 0.30] in normalised score, Holm-corrected "
        "p = 0.030; on drawer-close-v3 by 0.29 [0.19 to 0.38] in success rate (0.30 [0.20 to 0.40] in normalised "
        "score), Holm-corrected p = 0.004; open on Reacher-v5: +1.88 [\N{MINUS SIGN}1.88 to +5.64] in return; +0.05 "
        "[\N{MINUS SIGN}0.05 to +0.15] in normalised score, Holm-corrected p = 0.020; not tested on "
        "InvertedDoublePendulum-v5 (registered "
        "after 3 runs had ended)."
    )


def test_a_pool_that_is_open_follows_the_task_that_shows_something(made):
    rows = [contrast_result("a > b", TASK, "plus", 0.3), contrast_result("a > b", None, "open", 0.05, adjusted=0.2)]
    line = contrast_line(rows, made)
    assert line.startswith(
        "On drawer-close-v3, a is better than b by 0.29 [90 % interval 0.19 to 0.38] in success rate"
    )
    assert "; open over 3 tasks: +0.05 [" in line and "Holm-corrected p = 0.20 (registered; not recorded when)." in line


def test_the_opposite_is_said_to_be_one(made):
    line = contrast_line([contrast_result("a > b", TASK, "minus", -0.3)], made)
    assert line.startswith(
        "On drawer-close-v3, b is better than a by 0.29 [90 % interval 0.19 to 0.38] in success rate"
    )
    assert "(the opposite of the claim), Holm-corrected" in line
    assert "opposite" not in contrast_line([contrast_result("a vs b", TASK, "minus", -0.3)], made)


def lines(made, *rows, **claims):
    registered = {(text, "score"): ended for text, ended in claims.items()}
    return contrast_lines(replace(made, verdicts=replace(made.verdicts, contrasts=rows), claims=registered))


def test_defaults_that_show_nothing_are_counted(made):
    told = lines(
        made,
        contrast_result("a vs dense", TASK, "plus", 0.3, origin="against dense"),
        contrast_result("b vs dense", TASK, "open", 0.0, origin="against dense"),
    )
    assert told[0].startswith("On drawer-close-v3, a is better than dense by 0.29 [")
    assert told[0].endswith("(not registered; a default comparison).")
    assert told[1].startswith("1 default comparison shows nothing yet") and len(told) == 2


def test_open_ones_share_a_line_with_their_numbers(made):
    first, second, third = (f"a > {other}" for other in "bcd")
    rows = [
        contrast_result(first, TASK, "open", 0.05),
        contrast_result(second, None, "open", -0.3, adjusted=1.0),
        *(contrast_result(third, task, "open", 0.0) for task in (TASK, "Reacher-v5")),
    ]
    minus = "\N{MINUS SIGN}"
    assert lines(made, *rows, **{first: 0, second: 0, third: 7}) == [
        "Open (registered before the first run): a > b (on drawer-close-v3 +0.05 [90 % interval "
        f"{minus}0.05 to +0.14] in success rate; +0.05 [{minus}0.05 to +0.15] in normalised score, Holm-corrected p = "
        f"0.020); a > c (over 3 tasks {minus}0.30 [{minus}0.40 to {minus}0.20] in normalised score, the whole interval "
        "is below 0, Holm-corrected p = 1.00).",
        "Open (registered after 7 runs had ended): a > d (on drawer-close-v3 0.00 [90 % interval "
        f"{minus}0.10 to +0.10] in success rate; 0.00 [{minus}0.10 to +0.10] in normalised score, Holm-corrected p = "
        f"0.020; on Reacher-v5 0.00 [{minus}3.76 to +3.76] in return; 0.00 [{minus}0.10 to +0.10] in normalised score, "
        "Holm-corrected p = 0.020).",
    ]


def test_an_open_one_says_where_it_is_not_tested_and_on_how_many_more_it_is_open(made):
    rows = [contrast_result("a > b", TASK, "open", 0.0) for _ in range(4)]
    rows.append(contrast_result("a > b", "Reacher-v5", None, 0.0, why="a has no finished run"))
    (line,) = lines(made, *rows, **{"a > b": 0})
    assert line.endswith("; open on 1 more task; not tested on Reacher-v5).")


def test_those_that_cannot_be_tested_yet_share_a_line(made):
    names = [f"a > {other}" for other in "bcdefg"]
    rows = [
        contrast_result(name, task, None, 0.0, why="a has 2 of 5 seeds that are needed")
        for name in names
        for task in (TASK, "Reacher-v5")
    ]
    assert lines(made, *rows, **dict.fromkeys(names, 0)) == [
        "Not tested yet (registered before the first run): "
        + ", ".join(f"a > {other} (a has 2 of 5 seeds that are needed)" for other in "bcde")
        + " and 2 more."
    ]
