import csv
import io

from rlottery.report.tables import Cell, Column, Row, Table, bounded_cell, estimate_cell, p_cell, to_csv, to_markdown

TABLE = Table(
    "made-up",
    "What | it is.",
    (Column("Arm"), Column("Share", True)),
    (
        Row((Cell("a|b", {"arm": "a|b"}), bounded_cell("share", -0.25, -0.5, 0.0, 1.0))),
        Row((Cell("c", {"arm": "c"}), bounded_cell("share", None, None, None, 1.0))),
    ),
)


def test_csv_has_plain_values_and_leaves_out_what_is_not_known():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["arm", "share", "share_low", "share_high"]
    assert rows[1:] == [["a|b", "0.75", "0.5", "1.0"], ["c", "", "", ""]]


def test_markdown_shows_names_as_they_are():
    lines = to_markdown(TABLE).splitlines()
    assert lines[0] == "What \\| it is."
    assert lines[3] == "| :-- | --: |"
    assert lines[4] == "| a\\|b | 0.75 \\[0.50, 1.00\\] |"


def test_differences_have_a_sign_unless_they_are_zero():
    assert bounded_cell("x", -0.001, -0.1, 0.004, 0.0).text == "0.00 [\N{MINUS SIGN}0.10, 0.00]"
    assert bounded_cell("x", 0.1, None, None, 0.0).text == "+0.10"


def test_cells_are_sorted_by_their_value_and_what_is_unknown_by_nothing():
    assert bounded_cell("x", -0.25, None, None, 1.0).order == 0.75
    assert estimate_cell("x", None, 2).order == ""
    assert p_cell("p", 0.0004).order == 0.0004
    assert p_cell("p", 0.0004).text == "<0.001"
