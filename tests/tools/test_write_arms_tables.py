import pytest

from tools.write_arms_tables import PAGES, with_tables

TEXTS = [page.read_text() for page in PAGES]


def test_the_tables_are_what_the_script_writes():
    assert with_tables(TEXTS) == TEXTS, "run: uv run python tools/write_arms_tables.py"


def test_only_the_tables_are_replaced():
    lines = [text.splitlines(keepends=True) for text in TEXTS]
    emptied = ["".join(line for line in page if not line.startswith("| `uniform` |")) for page in lines]
    assert emptied != TEXTS and with_tables(emptied) == TEXTS


def test_a_page_without_a_table_is_an_error():
    with pytest.raises(SystemExit, match="<!-- table: control -->"):
        with_tables([text.replace("<!-- table: control -->", "") for text in TEXTS])
