from pathlib import Path
from typing import get_args

import pytest

from rlottery.config.recipe_keys import AllocationName
from rlottery.config.recipes import KEYS
from rlottery.config.schedules import PruningSchedule
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.criteria import CRITERIA
from rlottery.study.catalogue import catalogue_table, sections
from tests.study.studies import shown

PAGE = (Path(__file__).parents[2] / "docs" / "arms.md").read_text()


def test_it_tells_what_a_config_may_ask_for_and_nothing_else() -> None:
    told = {section.key: set(section.methods) for section in sections()}
    assert told["criterion"] - {"module:function"} == set(CRITERIA)
    assert told["allocation"] - {"{actor: [...]}"} == set(get_args(AllocationName))
    assert told["schedule"] == {"one-shot", *PruningSchedule.model_fields}
    assert told["control"] == set(CONTROLS)
    assert told["structure"] == {"weights", "units"}
    assert set(told) - {""} <= set(KEYS)


def test_every_key_of_an_arm_is_in_the_docs() -> None:
    table = PAGE.partition("## The keys of an arm")[2].partition("##")[0]
    assert [key for key in KEYS if f"`{key}`" not in table] == []


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table_fits_the_terminal(width: int) -> None:
    lines = shown(catalogue_table(), width).splitlines()
    assert max(map(len, lines)) <= width
    for section in sections():
        assert any(line.startswith(section.question) for line in lines)
        for name in section.methods:
            assert any(line.startswith(name.partition(": ")[0]) for line in lines)
