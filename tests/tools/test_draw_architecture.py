import xml.etree.ElementTree

from tools.draw_architecture import PICTURE, arrows, package_imports, picture


def test_the_picture_shows_the_imports_that_are_there():
    assert PICTURE.read_text() == picture(), "run: uv run python tools/draw_architecture.py"
    xml.etree.ElementTree.fromstring(PICTURE.read_text())


def test_imports_are_read_from_the_code():
    imports = package_imports()
    assert {"training", "report", "storage"} <= imports["study"] and imports["config"] == {"pruning"}


def test_an_arrow_is_left_out_if_it_follows_from_others():
    assert arrows({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == [("a", "b"), ("b", "c")]
