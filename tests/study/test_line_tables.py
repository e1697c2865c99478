import io

import pytest
from rich.console import Console, RenderableType

from rlottery.study.line_tables import RunLine, RunTable, Sentence, StateTable

LONG = "random-of-taylor-uniform-90-with-a-long-name-of-its-own"
WHY = "environment process ended with code 139 while it was stepped for the first time after a reset; see the log"


def in_terminal(page: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, no_color=True, width=width)
    with console.capture() as captured:
        console.print(page, crop=False)
    return [line.replace("\x1b[2m", "").replace("\x1b[0m", "") for line in captured.get().splitlines()]


def in_file(page: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(page, crop=False)
    return captured.get().splitlines()


def states(arm: str) -> StateTable:
    task = "InvertedDoublePendulum-v5"
    return StateTable([RunLine(task, "0", "dense", "failed", WHY), RunLine(task, "11", arm, "done", "in 12 min 3 s")])


@pytest.mark.parametrize("width", [60, 80, 100, 140, 250])
@pytest.mark.parametrize("arm", ["magnitude-80", LONG])
def test_names_are_whole_in_every_terminal(width: int, arm: str) -> None:
    lines = in_terminal(states(arm), width)
    assert sum(arm in line.split() for line in lines) == 1
    assert all("InvertedDoublePendulum-v5" in line.split() for line in lines if "Inverted" in line)
    assert " ".join(WHY.split()) in " ".join(" ".join(lines).split()) or width < 250
    assert all(word in " ".join(lines).split() for word in [*WHY.split(), "12", "min"])
    named = max(len(line) for line in lines)
    assert named <= width or arm == LONG


def test_less_telling_parts_give_way_one_after_the_other() -> None:
    def heading(width: int, arm: str) -> str:
        return in_terminal(states(arm), width)[0]

    whole = "task                       seed  arm           state   details"
    assert heading(140, "magnitude-80") == whole
    assert heading(80, "magnitude-80") == "seed  arm           state   details"
    assert in_terminal(states("magnitude-80"), 80)[1] == "InvertedDoublePendulum-v5"
    assert in_terminal(states("magnitude-80"), 80)[-1] == "11    magnitude-80  done    in 12 min 3 s"
    assert in_terminal(states(LONG), 80)[-2:] == [f"11    {LONG}  done", "    in 12 min 3 s"]


def test_a_file_has_a_whole_line_for_each_run() -> None:
    heading, failed, done = in_file(states(LONG))
    assert heading.split() == ["task", "seed", "arm", "state", "details"]
    assert failed.endswith(WHY) and done.endswith("in 12 min 3 s") and LONG in done
    assert in_file(Sentence(WHY * 3)) == [WHY * 3] and len(in_terminal(Sentence(WHY * 3), 80)) > 3


def test_a_table_of_runs_does_without_columns_but_not_without_names() -> None:
    headings, rows = ("run", "state", "env steps", "time"), [(LONG, "to do", "20,000", "3 min 2 s"), ("b", "", "", "")]
    table = RunTable(headings, rows, to_the_left=headings[:1], dispensable=("env steps", "state"))
    gap = " " * (len(LONG) - len("run"))
    assert in_file(table)[:2] == [f"run{gap}  state  env steps       time", f"{LONG}  to do     20,000  3 min 2 s"]
    assert in_terminal(table, 80)[0] == f"run{gap}  state       time"
    assert in_terminal(table, 60)[:3] == [f"run{gap}       time", f"{LONG}  3 min 2 s", "b"]
