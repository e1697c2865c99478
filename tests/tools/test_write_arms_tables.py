import pytest

from tools.write_arms_tables import PAGE, with_tables


def test_the_tables_are_what_the_script_writes():
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "run: uv run python tools/write_arms_tables.py"


def test_only_the_tables_are_replaced():
    text = PAGE.read_text()
    emptied = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("| `uniform` |"))
    assert emptied != text and with_tables(emptied) == text


def test_a_page_without_a_table_is_an_error():
    with pytest.raises(SystemExit, match="<!-- table: control -->"):
        with_tables(PAGE.read_text().replace("<!-- table: control -->", ""))
