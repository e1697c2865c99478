"""Which splits of sparsity are the same, and which can be ordered."""

import pytest

from rlottery.analysis.scores import score_tasks
from rlottery.analysis.splits import is_uniform, kinds_of_split, same_split
from rlottery.config import Config
from tests.analysis.made import run


def test_the_same_split() -> None:
    split = {"actor": 0.9, "critic": 0.5}
    assert same_split(split, {"critic": 0.5 + 1e-16, "actor": 0.9 - 1e-12})
    assert not same_split(split, {"actor": 0.5, "critic": 0.9})
    assert not same_split(split, {"actor": 0.9}) and not same_split(split, {"actor": 0.9, "critic": 0.5001})


def test_splits_are_ordered_where_one_group_differs() -> None:
    uniform, other = {"actor": 0.9, "critic": 0.9}, {"actor": 0.9, "critic": 0.5}
    assert is_uniform(uniform) and is_uniform({"q": 0.3}) and not is_uniform(other)
    assert kinds_of_split(uniform) == {"uniform": 0.9}
    shared = kinds_of_split(other).keys() & kinds_of_split({"actor": 0.95, "critic": 0.5}).keys()
    assert [kinds_of_split(other)[kind] for kind in shared] == [0.9]
    assert not kinds_of_split(other).keys() & kinds_of_split({"actor": 0.5, "critic": 0.9}).keys()
    assert not kinds_of_split(other).keys() & kinds_of_split(uniform).keys()


@pytest.mark.parametrize(
    ("structure", "reached", "asked"),
    [("weights", 0.399, 0.4), ("weights", 0.5, None), ("units", 0.47, 0.4), ("units", 0.9, None)],
)
def test_the_requested_sparsity_is_the_configs_if_the_runs_reached_it(
    structure: str, reached: float, asked: float | None
) -> None:
    arm = {"name": "m", "criterion": "magnitude", "sparsity": 0.4, "structure": structure}
    settings = Config.model_validate({"tasks": ["a"], "seeds": [0], "arms": [arm]})
    runs = [run("m", 0, 0.0, 1.0, criterion="magnitude", sparsity={"actor": reached, "critic": reached})]
    (task,) = score_tasks(settings, {"a": runs})
    shown = reached if asked is None else asked
    assert task.split("m") == {"actor": shown, "critic": shown}


@pytest.mark.parametrize("control", ["random", "random-erk", "shuffled"])
def test_a_control_has_the_requested_sparsity_of_its_ticket(control: str) -> None:
    arms = [
        {"name": "ticket", "criterion": "taylor", "sparsity": 0.8},
        {"name": "control", "control": control, "of": "ticket"},
    ]
    settings = Config.model_validate({"tasks": ["a"], "seeds": [0], "arms": arms})
    reached = {"actor": 1 - 70 / 352, "critic": 1 - 70 / 352}
    runs = [run("ticket", 0, 0.0, 1.0, criterion="taylor", sparsity=reached)]
    runs.append(run("control", 0, 0.0, 1.0, sparsity=reached, recipe={"control": control}))
    (task,) = score_tasks(settings, {"a": runs})
    assert task.split("control") == task.split("ticket") == {"actor": 0.8, "critic": 0.8}
    runs[-1] = run("control", 0, 0.0, 1.0, sparsity={"actor": 0.5, "critic": 0.5}, recipe={"control": control})
    (task,) = score_tasks(settings, {"a": runs})
    assert task.split("control") == {"actor": 0.5, "critic": 0.5}
