"""What the page says of masks that are sparser than their counts."""

from dataclasses import replace

from rlottery.analysis.mask_analysis import LayerSurvivors, MaskAnalysis
from rlottery.report.mask_networks import mask_lines, network_table
from tests.report.contents import contents


def analysis(*layers: LayerSurvivors, shares_budget: bool = False) -> MaskAnalysis:
    arm = replace(contents(evaluations=3).masks.arms[0], arm="taylor-98", task="Pusher-v5", layers=layers)
    return MaskAnalysis((replace(arm, shares_budget=shares_budget),), (), ())


def layer(path: str, kept: float, useful: float, dead: float = 0.0, units: int = 100) -> LayerSurvivors:
    return LayerSurvivors(path, kept, useful, 1_000, dead, 0.0, units, 0.9)


def test_nothing_is_said_of_a_mask_that_keeps_what_it_counts() -> None:
    assert mask_lines(analysis(layer("actor.layer_0", 100, 91), layer("actor.layer_1", 50, 50, units=0))) == []


def test_narrow_layers_and_idle_survivors_and_shared_budgets() -> None:
    masks = analysis(
        layer("critic.q1.layer_0", 100, 60, dead=80),
        layer("critic.q2.layer_0", 100, 95, dead=74),
        shares_budget=True,
    )
    assert mask_lines(masks) == [
        "Narrow layers, with fewer than 25 % of their units on a path from input to output: taylor-98 on Pusher-v5 "
        "(critic.q1.layer_0: 20 of 100).",
        "Many remaining weights are idle, on no path from an input to an output: 40 % in critic.q1 of taylor-98 on "
        "Pusher-v5.",
        "In the masks of taylor-98, the critics share one budget, as in earlier versions of rlottery: one may keep "
        "more weights than the other.",
    ]


def test_actors_that_learn_nothing_from_their_critics_are_named() -> None:
    found = analysis(layer("actor.layer_0", 100, 91))
    found = replace(found, arms=(replace(found.arms[0], seeds=(0, 1, 2), untaught=(1, 2)),))
    assert mask_lines(replace(found, acting="actor", teachers=("critic.q1",))) == [
        "In some masks no action reaches the output of critic.q1, through which the actor learns, so that it learns "
        "nothing from it: taylor-98 on Pusher-v5 (2 of 3)."
    ]


def test_the_table_has_a_row_for_each_network() -> None:
    masks = analysis(layer("actor.layer_0", 100, 60, dead=80), layer("actor.layer_1", 100, 60, units=0))
    table = network_table(replace(contents(evaluations=3), masks=masks), {})
    (row,) = table.rows
    values = {key: value for cell in row.cells for key, value in cell.values.items()}
    expected = {"network": "actor", "kept": 200, "useful": 120, "idle": 0.4, "effective_sparsity": 0.94, "in_use": 20}
    assert values.items() >= expected.items()
