"""What the page and the limits say of layers that a mask leaves almost nothing."""

from dataclasses import replace
from typing import Any

from rlottery.analysis.starved_layers import StarvedLayers, starved_in
from rlottery.pruning.starved import StarvedLayer
from rlottery.report.contents import Contents
from rlottery.report.limits import limits
from rlottery.report.starved_layers import starved_limits, starved_lines
from tests.report.contents import contents

TICKET, CONTROL = "magnitude-80", "random-80"


def layer(twin: str, kept: int, in_use: int, place: int = 0) -> StarvedLayer:
    return StarvedLayer(twin, f"{twin}.layer_{place}", place, 3, kept, 1_000, 0.2, in_use, 64)


def study(starved: dict[str, tuple[StarvedLayers, ...]], *, lists_arms: bool = False, **facts: Any) -> Contents:
    """A study of one task in which these arms have these starved layers, and their runs these other facts."""
    made = contents(evaluations=3)
    (first, *_) = made.masks.arms
    task = next(one for one in made.scores if one.task == first.task)
    runs = {arm: tuple(replace(run, **facts) for run in of) for arm, of in task.runs.items()}
    arms = tuple(replace(first, arm=arm, starved=layers) for arm, layers in starved.items())
    masks = replace(made.masks, arms=arms)
    return replace(made, masks=masks, scores=(replace(task, runs=runs),), lists_arms=lists_arms)


def test_seeds_and_twins_make_ranges() -> None:
    masks = [
        {"critic": [layer("q1", 4, 3), layer("q2", 9, 5)]},
        {"critic": [layer("q1", 6, 6)], "actor": [replace(layer("", 2, 2, 2), of_network=0.1)]},
        {},
    ]
    critic, actor = sorted(starved_in(masks, {"actor": 1, "critic": 2}), key=lambda found: -found.twins)
    assert (critic.kept, critic.in_use, critic.starved, critic.networks) == ((4, 9), (3, 6), 3, 6)
    assert critic.share == (0.004, 0.009)
    assert (actor.place, actor.of_network, actor.starved, actor.networks) == (2, (0.1, 0.1), 1, 3)


CRITICS = tuple(starved_in([{"critic": [layer("q1", 4, 3), layer("q2", 4, 6)]}], {"critic": 2}))
ACTOR = tuple(starved_in([{"actor": [layer("", 4, 3, 2)]}, {}], {"actor": 1}))


def test_a_ticket_and_its_control_have_one_sentence_and_a_setting() -> None:
    made = study({TICKET: CRITICS, CONTROL: tuple(replace(one, in_use=(4, 4)) for one in CRITICS)})
    task = made.scores[0].task
    assert list(starved_lines(made)) == [
        f"Starved layer on {task}: {TICKET} and {CONTROL} keep 0.4 % of the weights of the critics' first layer (4 of "
        "1,000), where the whole network keeps 20 %. Of 64 hidden units next to it, 3 to 6 are in use.",
        "One ranking over each whole network leaves layers so little. To avoid it, set pruning.allocation: erk, or "
        "uniform.",
    ]
    limit = (
        f"On {task}, the masks of {TICKET} keep only 0.4 % of the weights of the critics' first layer, and may fail "
        "for that alone. To avoid it, set pruning.allocation: erk, or uniform."
    )
    assert list(starved_limits(made)) == [limit]
    assert limit in list(limits(made))


def test_a_study_that_lists_its_arms_gets_the_keys_of_arms() -> None:
    made = study({TICKET: ACTOR}, lists_arms=True)
    starved, setting = starved_lines(made)
    assert "of the actor's last layer in 1 of 2 networks" in starved
    assert "allocation: erk or uniform in the entries of these arms" in setting and "floor: 64" in setting


def test_no_setting_is_named_for_masks_that_no_ranking_over_the_network_has_made() -> None:
    for recipe in ({"allocation": {"actor": [0.996, 0, 0]}}, {"transfer": {"file": "mask.pkl"}}):
        made = study({TICKET: CRITICS}, lists_arms=True, recipe=recipe)
        assert len(list(starved_lines(made))) == 1
        assert "To avoid it" not in "".join(starved_limits(made))


def test_a_ticket_that_is_as_good_as_dense_is_not_limited_by_it() -> None:
    made = study({TICKET: CRITICS})
    verdicts = [
        replace(task, arms=[replace(arm, dense=replace(arm.dense, answer="non-inferior")) for arm in task.arms])
        for task in made.verdicts.tasks
    ]
    assert list(starved_limits(made)) != []
    assert list(starved_limits(replace(made, verdicts=replace(made.verdicts, tasks=verdicts)))) == []


def test_tasks_make_one_sentence_and_many_sentences_are_cut() -> None:
    made = study({TICKET: CRITICS})
    (arm,), (scores,) = made.masks.arms, made.scores
    larger = replace(CRITICS[0], kept=(9, 9), size=3_000, of_network=(0.1, 0.1))
    other = replace(arm, task="other", starved=(larger,))
    two = replace(made, scores=(scores, replace(scores, task="other")), masks=replace(made.masks, arms=(arm, other)))
    line, _ = starved_lines(two)
    assert f"on {scores.task} and other: {TICKET} keeps 0.3 to 0.4 % of" in line and "keeps 10 to 20 %." in line
    assert " of 1,000)" not in line
    every = [replace(CRITICS[0], place=place, layers=20, kept=(place, place)) for place in range(9)]
    *shown, more, _ = starved_lines(study({TICKET: tuple(every)}))
    assert len(shown) == 6 and "keeps 0 % of the weights of the critics' first layer" in shown[0]
    assert more.startswith("3 more layers are starved")


def test_nothing_is_said_without_starved_layers() -> None:
    assert list(starved_lines(study({TICKET: ()}))) == list(starved_limits(study({TICKET: ()}))) == []
