import csv
import io

from rlottery.report.table_formats import to_csv, to_markdown
from rlottery.report.tables import bounded_cell, estimate_cell, make_table, normalised, p_cell, text

TABLE = make_table(
    "made-up",
    "What | it is.",
    (
        text("Arm", "arm", lambda row: row[0]),
        normalised("Normalised", "normalised", lambda row: row[1]),
    ),
    [("a|b", (-0.25, -0.5, 0.0)), ("c", (None, None, None))],
)


def test_csv_has_plain_values_and_omits_what_is_not_known():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["arm", "normalised", "normalised_low", "normalised_high"]
    assert rows[1:] == [["a|b", "0.75", "0.5", "1.0"], ["c", "", "", ""]]


def test_markdown_shows_names_as_they_are():
    lines = to_markdown(TABLE).splitlines()
    assert lines[0] == "What \\| it is."
    assert lines[3] == "| :-- | --: |"
    assert lines[4] == "| a\\|b | 0.75 \\[0.50, 1.00\\] |"


def test_differences_have_a_sign_unless_they_are_zero():
    assert bounded_cell("x", -0.001, -0.1, 0.004, at=0.0).text == "0.00 [\N{MINUS SIGN}0.10, 0.00]"
    assert bounded_cell("x", 0.1, None, None, at=0.0).text == "+0.10"


def test_cells_are_sorted_by_their_value_and_what_is_unknown_by_nothing():
    assert bounded_cell("x", -0.25, None, None, at=1.0).order == 0.75
    assert estimate_cell("x", None, 2).order == ""
    assert p_cell("p", 0.0004).order == 0.0004
    assert p_cell("p", 0.0004).text == "<0.001"
