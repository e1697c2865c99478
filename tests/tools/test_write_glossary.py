from tools.write_glossary import PAGE, page


def test_the_page_is_what_the_script_writes():
    assert PAGE.read_text() == page(), "run: uv run python tools/write_glossary.py"
