import re

import pytest
import yaml

from rlottery.config import Config
from tools.write_arms_tables import DOCS, METHODS, PAGES, with_tables

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


def test_every_method_has_a_page_and_no_other_has_one():
    assert {page.stem for page in (DOCS / "methods").glob("*.md")} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_a_method_has_its_parts_and_arms_that_are_valid(name):
    text = (DOCS / "methods" / f"{name}.md").read_text()
    assert re.findall("^## (.+)$", text, flags=re.M) == ["Run it", "Keys", "What is known"]
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.M | re.S)
    arms = Config.model_validate({"tasks": ["Pendulum-v1"], "seeds": [0], **yaml.safe_load(block)}).arms
    assert name in (arms[0].criterion, arms[0].schedule.chosen.name)
