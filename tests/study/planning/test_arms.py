from pathlib import Path
from typing import Any

import pytest

from rlottery.config import Config, Pruning
from rlottery.config.fields import Sparsity
from rlottery.errors import RlotteryError
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.criteria import find_criterion
from rlottery.study.planning.arms import Arm, arms_of, built_in_arms, chosen_arms, comparable_method
from rlottery.study.planning.fingerprints import Fingerprint, mask_fingerprint, ticket_fingerprint
from rlottery.study.planning.jobs import Job


def name(method: str, **pruning: object) -> str:
    return built_in_arms(method, Pruning.model_validate(pruning))[0].name


def test_names_say_criterion_and_sparsity() -> None:
    assert name("magnitude") == "magnitude-80"
    assert name("gradient") == "taylor-80"
    assert name("gradient", gradient_method="gradient", sparsity=0.95) == "gradient-95"
    assert name("magnitude", sparsity=0.875) == "magnitude-87.5"
    assert name("magnitude", sparsity=0) == "magnitude-0"


def test_names_tell_actor_and_critic_apart_where_they_differ() -> None:
    assert name("magnitude", sparsity={"actor": 0.9, "critic": 0.5}) == "magnitude-a90-c50"
    assert name("magnitude", sparsity={"actor": 0.9, "critic": 0.9}) == "magnitude-90"


def test_names_tell_batches_that_are_not_the_guides() -> None:
    assert name("gradient", num_gradient_batches=50) == "taylor-80-50x256"
    assert name("gradient", gradient_batch_size=128) == "taylor-80-100x128"


def test_idle_keys_make_no_other_arm() -> None:
    assert built_in_arms("magnitude", Pruning(num_gradient_batches=5))[0] == built_in_arms("magnitude", Pruning())[0]
    by_size = Pruning(gradient_method="magnitude")
    assert (
        built_in_arms("gradient", by_size.model_copy(update={"gradient_batch_size": 5}))[0]
        == built_in_arms("gradient", by_size)[0]
    )


def test_magnitude_by_the_gradient_method_is_an_arm_of_its_own() -> None:
    arm = built_in_arms("gradient", Pruning(gradient_method="magnitude"))[0]
    assert arm.name == "gradient-magnitude-80"
    assert (arm.method, arm.recipe.criterion, arm.needs_replay) == ("gradient", "magnitude", False)


def test_only_gradients_need_the_replay_buffer() -> None:
    assert not built_in_arms("magnitude", Pruning())[0].needs_replay
    assert built_in_arms("gradient", Pruning())[0].needs_replay


def test_every_recipe_has_a_name_of_its_own() -> None:
    recipes = [
        (method, Pruning(sparsity=Sparsity(actor=actor, critic=critic), gradient_method=criterion))
        for method in ("magnitude", "gradient")
        for criterion in ("taylor", "gradient", "magnitude")
        for actor in (0.5, 0.8, 0.95)
        for critic in (0.5, 0.8)
    ]
    arms = {built_in_arms(method, pruning)[0] for method, pruning in recipes}
    assert len(arms) == 4 * 6
    assert len({arm.name for arm in arms}) == len(arms)


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(RlotteryError, match="'taylor'.*magnitude, gradient"):
        built_in_arms("taylor", Pruning())[0]


# Arms that a config lists


def listed(*recipes: dict[str, Any], **keys: Any) -> Config:
    study = {
        "tasks": ["a", {"id": "b", "training": {"env_steps": 2000}}],
        "seeds": [0],
        "training": {"env_steps": 1200, "warmup_steps": 200},
        "evaluation": {"interval": 400, "score_evaluations": 1},
    }
    return Config.model_validate({**study, **keys, "arms": recipes})


def arms(*recipes: dict[str, Any]) -> dict[str, Arm]:
    return {arm.name: arm for arm in arms_of(listed(*recipes), None)}


MAG = {"name": "mag", "criterion": "magnitude", "sparsity": 0.9}
LATE = {"name": "late", "criterion": "magnitude", "sparsity": 0.9, "rewind": {"step": 400}}
TUNED = {"name": "tuned", "criterion": "taylor", "sparsity": 0.9, "rewind": "none"}
IMP = {"name": "imp", "criterion": "magnitude", "sparsity": 0.8, "schedule": {"iterative": {"rate": 0.5}}}
RIGL = {"name": "rigl", "schedule": "rigl", "sparsity": 0.9, "rescale": True}


def pruning(**keys: Any) -> Config:
    return Config.model_validate({"tasks": ["a"], "seeds": [0], "pruning": keys})


def test_pruning_is_shorthand_for_two_tickets_and_their_random_masks() -> None:
    config = Config.model_validate({"tasks": ["a"], "seeds": [0]})
    assert arms_of(config, None) == arms_of(config, "magnitude")
    for method, ticket in (("magnitude", "magnitude-80"), ("gradient", "taylor-80")):
        first, control = arms_of(config, method)
        assert (first, control.of) == (built_in_arms(method, config.pruning)[0], first)
        assert (first.name, control.name, control.kind) == (ticket, f"random-of-{ticket}", "random")


def test_without_controls_there_is_the_ticket_alone() -> None:
    config = pruning(controls=[])
    assert [arm.name for arm in arms_of(config, None)] == ["magnitude-80"]
    assert [arm.name for arm in arms_of(config, "gradient")] == ["taylor-80"]


def test_another_sparsity_or_allocation_makes_other_tickets_and_controls() -> None:
    names = [arm.name for arm in arms_of(pruning(sparsity=0.95, controls=["random", "shuffled"]), "gradient")]
    assert names == ["taylor-95", "random-of-taylor-95", "shuffled-of-taylor-95"]
    names = [arm.name for arm in arms_of(pruning(sparsity={"actor": 0.9, "critic": 0.5}, allocation="erk"), None)]
    assert names == ["magnitude-a90-c50-erk", "random-of-magnitude-a90-c50-erk"]


@pytest.mark.parametrize("method", ["magnitude", "gradient"])
def test_controls_of_pruning_are_those_that_arms_would_list(method: str) -> None:
    """The same masks and runs, by their fingerprints, under the same names."""
    kinds, criterion = list(CONTROLS), "magnitude" if method == "magnitude" else "taylor"
    controls: list[dict[str, Any]] = [
        {"control": kind} | ({} if kind == "dense-again" else {"of": f"{criterion}-80-erk"}) for kind in kinds
    ]
    entry = {"criterion": criterion, "sparsity": 0.8, "allocation": "erk"}
    long, short = listed(entry, *controls), pruning(controls=kinds, allocation="erk")
    told = [
        {arm.name: (mask_fingerprint(arm, 0, {}), ticket_fingerprint(long, long.tasks[0], 0, arm, {})) for arm in arms}
        for arms in (arms_of(long, None), arms_of(short, method))
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 1 + len(kinds)


def test_masks_of_controls_are_published_next_to_those_of_their_tickets(tmp_path: Path) -> None:
    config = pruning(controls=["random", "shuffled"]).model_copy(update={"data": tmp_path})
    found = {
        arm.name: Job(config, "mask", 0, 7, arm).mask_path.relative_to(tmp_path).as_posix()
        for method in ("magnitude", "gradient")
        for arm in arms_of(config, method)
    }
    assert found == {
        "magnitude-80": "masks/a_seed_7.pkl",
        "random-of-magnitude-80": "masks/a_seed_7_random.pkl",
        "shuffled-of-magnitude-80": "masks/a_seed_7_shuffled.pkl",
        "taylor-80": "masks/a_seed_7_gradient.pkl",
        "random-of-taylor-80": "masks/a_seed_7_gradient_random.pkl",
        "shuffled-of-taylor-80": "masks/a_seed_7_gradient_shuffled.pkl",
    }


def test_a_control_is_neither_of_the_two_methods() -> None:
    ticket, control = arms_of(pruning(), "gradient")
    assert (comparable_method(ticket), comparable_method(control)) == ("gradient", None)


def test_the_shorthands_fingerprints_are_those_that_its_files_hold() -> None:
    inputs = {"agent": "0123"}
    plain = pruning().pruning  # of a config, which has the shares of its algorithm's networks
    magnitude, gradient = built_in_arms("magnitude", plain)[0], built_in_arms("gradient", plain)[0]
    few = built_in_arms("gradient", Pruning(sparsity=Sparsity(actor=0.9, critic=0.5), num_gradient_batches=5))[0]
    assert mask_fingerprint(magnitude, 3, inputs) == {
        "version": 1,
        "seed": 3,
        "pruning": {"criterion": "magnitude", "sparsity": {"actor": 0.8, "critic": 0.8}, "twins": "separate"},
        "inputs": {"agent": "0123"},
    }
    assert mask_fingerprint(gradient, 3, inputs)["pruning"] == {
        "criterion": "taylor",
        "sparsity": {"actor": 0.8, "critic": 0.8},
        "num_gradient_batches": 100,
        "gradient_batch_size": 256,
        "twins": "separate",
    }
    assert mask_fingerprint(few, 3, inputs)["pruning"] == {
        "criterion": "taylor",
        "sparsity": {"actor": 0.9, "critic": 0.5},
        "num_gradient_batches": 5,
        "gradient_batch_size": 256,
        "twins": "separate",
    }
    config = Config.model_validate({"tasks": ["a"], "seeds": [3]})
    ticket = ticket_fingerprint(config, config.tasks[0], 3, gradient, {"initial": "45", "mask": "67"})
    assert ticket == {
        "version": 1,
        "name": "study",
        "task": {"id": "a", "kwargs": {}},
        "seed": 3,
        "device": "cpu",
        "network": {"actor": [256, 256], "critic": [256, 256]},
        "sac": {
            "discount": 0.99,
            "polyak": 0.005,
            "actor_learning_rate": 0.0003,
            "critic_learning_rate": 0.0003,
            "temperature_learning_rate": 0.0003,
            "initial_temperature": 1.0,
            "target_entropy": "auto",
            "batch_size": 256,
            "reward_scale": 1.0,
        },
        "training": {"env_steps": 25000, "warmup_steps": 1000, "updates_per_step": 1, "replay_capacity": "all"},
        "evaluation": {"interval": 2500, "episodes": 10},
        "inputs": {"initial": "45", "mask": "67"},
    }


def test_a_method_is_no_choice_among_listed_arms() -> None:
    with pytest.raises(RlotteryError, match="and the pruning method 'magnitude' chooses.*Leave the method out"):
        arms_of(listed(MAG), "magnitude")


def test_arms_come_after_those_that_they_need() -> None:
    controls = [{"control": "random", "of": "imp"}, {"control": "inverted", "of": "mag"}]
    assert list(arms(*controls, IMP, {"control": "dense-again"}, MAG)) == [
        *("imp.round-1", "imp.round-2", "imp", "mag"),
        *("random-of-imp", "inverted-of-mag", "dense-again"),
    ]


def test_rounds_of_iterative_pruning() -> None:
    found = arms(IMP)
    first, second, last = found.values()
    # Half of what is left each time, the last trimmed to what was asked for.
    assert [arm.sparsity for arm in (first, second, last)] == [
        {"actor": 0.5, "critic": 0.5},
        {"actor": 0.75, "critic": 0.75},
        {"actor": 0.8, "critic": 0.8},
    ]
    assert (first.scored, second.scored, last.scored) == (None, first, second)
    assert {arm.stages for arm in found.values()} == {("mask", "ticket")}


def test_one_round_is_enough_for_what_a_round_prunes() -> None:
    (only,) = arms({**IMP, "sparsity": {"actor": 0.5, "critic": 0.2}}).values()
    assert (only.name, only.scored, only.sparsity) == ("imp", None, {"actor": 0.5, "critic": 0.2})


def test_chosen_arms_bring_those_that_they_need() -> None:
    found = list(arms(IMP, MAG, RIGL, {"control": "random", "of": "imp"}).values())

    def chosen(*names: str) -> list[str]:
        return [arm.name for arm in chosen_arms(found, names)]

    assert chosen("mag") == ["mag"]
    assert chosen("imp.round-2", "rigl") == ["imp.round-1", "imp.round-2", "rigl"]
    assert chosen("random-of-imp", "mag", "mag") == ["imp.round-1", "imp.round-2", "imp", "mag", "random-of-imp"]
    with pytest.raises(RlotteryError) as error:
        chosen("mag", "mga")
    assert str(error.value) == "There is no arm 'mga' in this config; did you mean 'mag'?"
    with pytest.raises(RlotteryError, match="no arm 'imp.rond-2' in this config. Its arms are: imp, mag,"):
        chosen("imp.rond-2")
    found = list(arms({"criterion": "taylor", "sparsity": [0.8, 0.9]}, IMP).values())
    for misspelt, meant in {"taylr": "taylor", "taylor-8": "taylor-80", "taylor_90": "taylor-90"}.items():
        with pytest.raises(RlotteryError, match=f"no arm '{misspelt}' in this config; did you mean '{meant}'"):
            chosen(misspelt)
        assert chosen(meant)
    found = list(arms(IMP, MAG, RIGL, {"control": "random", "of": "imp"}).values())
    with pytest.raises(RlotteryError, match="no arm 'dense' in this config. Its arms are: imp, mag, rigl, random-of-i"):
        chosen("dense")
    with pytest.raises(RlotteryError, match="No arm was chosen. Name at least one, or leave --arms out"):
        chosen()


def test_controls_rewind_as_their_tickets_do() -> None:
    controls = [{"control": "random", "of": name, "name": f"r-{name}"} for name in ("mag", "late", "tuned")]
    controls.append({"control": "random", "of": "t", "name": "r-t"})
    found = arms(MAG, LATE, TUNED, *controls, {"transfer": {"task": "a"}, "of": "late", "name": "t"})
    steps = {name: arm.rewind_step for name, arm in found.items()}
    of_tickets = {"mag": 0, "late": 400, "tuned": None, "r-mag": 0, "r-late": 400, "r-tuned": None}
    assert steps == of_tickets | {"t": 400, "r-t": 400}
    assert found["r-t"].root is found["late"]


def test_a_dense_control_starts_at_the_start_whatever_its_ticket_goes_back_to() -> None:
    config = listed(LATE, {"name": "small", "control": "small-dense", "of": "late"}, {"control": "dense-again"})
    late, small, again = arms_of(config, None)
    assert (late.rewind_step, small.rewind_step, again.rewind_step) == (400, 0, 0)
    steps = [[Job(config, "ticket", index, 0, arm).env_steps for index in (0, 1)] for arm in (late, small, again)]
    assert steps == [[800, 1600], [1200, 2000], [1200, 2000]]
    own = ticket_fingerprint(config, config.tasks[0], 0, small, {})["arm"]
    assert own == {"control": "small-dense"}


def test_controls_keep_the_scale_that_their_tickets_have_unless_they_say() -> None:
    found = arms(
        MAG,
        RIGL,
        {"name": "as-mag", "control": "random", "of": "mag"},
        {"name": "scaled", "control": "random", "of": "mag", "rescale": True},
        {"name": "as-rigl", "control": "random", "of": "rigl"},
        {"name": "plain", "control": "random", "of": "rigl", "rescale": False},
        {"name": "small", "control": "small-dense", "of": "rigl"},
    )
    rescaled = {name for name, arm in found.items() if arm.rescale}
    assert rescaled == {"rigl", "scaled", "as-rigl"}


@pytest.mark.parametrize(
    ("recipe", "needs"),
    [
        (MAG, False),
        ({"criterion": "taylor", "sparsity": 0.9}, True),
        ({"criterion": "wanda", "sparsity": 0.9}, True),
        ({"criterion": "snip", "sparsity": 0.9}, True),  # the warm-up's part of it
        ({"criterion": "synflow", "sparsity": 0.9}, False),
        ({"criterion": "random", "sparsity": 0.9}, False),
        (RIGL, False),
    ],
)
def test_masks_that_need_the_replay(recipe: dict[str, Any], needs: bool) -> None:
    (arm,) = arms(recipe).values()
    assert arm.needs_replay == needs


def test_of_controls_only_the_inverted_score_needs_what_the_ticket_needs() -> None:
    taylor = {"name": "t", "criterion": "taylor", "sparsity": 0.9}
    found = arms(taylor, {"control": "inverted", "of": "t"}, {"control": "random", "of": "t"})
    assert {name: arm.needs_replay for name, arm in found.items()} == {
        "t": True,
        "inverted-of-t": True,
        "random-of-t": False,
    }


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (MAG, {}),
        # Defaults that are written out say nothing more.
        (
            {**MAG, "allocation": "global", "floor": 1, "rewind": "initial", "schedule": "one-shot", "rescale": False},
            {},
        ),
        ({**MAG, "allocation": "erk", "floor": 2}, {"allocation": "erk", "floor": 2}),
        (LATE, {"rewind": {"step": 400}}),
        (TUNED, {"rewind": "none"}),
        (
            {"schedule": "rigl", "sparsity": 0.9, "rescale": True},
            {"schedule": {"rigl": {"drop": 0.3, "end": 0.75, "interval": 500}}, "rescale": True},
        ),
        (
            {"criterion": "magnitude", "allocation": {"actor": [0, 0.5, 0], "critic": [0.5, 0, 0]}},
            {"allocation": {"actor": [0, 0.5, 0], "critic": [0.5, 0, 0]}},
        ),
        ({"control": "dense-again"}, {"control": "dense-again"}),
    ],
)
def test_what_is_told_of_a_recipe(recipe: dict[str, Any], told: dict[str, Any]) -> None:
    (arm,) = arms_of(listed(recipe, network={"actor": [8, 8], "critic": [8, 8]}), None)
    assert arm.as_dict() == told


def test_a_control_tells_what_it_is_a_control_of() -> None:
    found = arms({**MAG, "floor": 2}, {"control": "random", "of": "mag"})
    of = {"floor": 2, "criterion": "magnitude", "sparsity": {"actor": 0.9, "critic": 0.9}}
    assert found["random-of-mag"].as_dict() == {"control": "random", "of": of}


def test_the_name_of_a_list_of_sparsities_chooses_all_that_came_of_it() -> None:
    config = listed(
        {"name": "mag", "criterion": "magnitude", "sparsity": [0.8, {"actor": 0.9, "critic": 0.5}]},
        {"name": "mag-late", "criterion": "magnitude", "sparsity": 0.8, "rewind": "none"},
        {"name": "random", "control": "random", "of": "mag"},
    )
    found = arms_of(config, None)
    assert [arm.name for arm in chosen_arms(found, ["mag"])] == ["mag-80", "mag-a90-c50"]
    assert [arm.name for arm in chosen_arms(found, ["random"])] == [
        *("mag-80", "mag-a90-c50", "random-80", "random-a90-c50")
    ]


def test_reclaiming_is_in_a_fingerprint_only_if_asked_for() -> None:
    plain, off, on = (
        arms({"criterion": "magnitude", "sparsity": 0.9, "name": "mag", **given})["mag"]
        for given in ({}, {"reclaim": False}, {"reclaim": True})
    )
    assert mask_fingerprint(plain, 0, {}) == mask_fingerprint(off, 0, {})
    told = mask_fingerprint(on, 0, {})
    assert told["pruning"].pop("reclaim") is True and told == mask_fingerprint(plain, 0, {})
    short = built_in_arms("gradient", Pruning(reclaim=True))[0]
    assert short.name == "taylor-80-reclaimed" and mask_fingerprint(short, 0, {})["pruning"]["reclaim"] is True


def test_the_source_of_ones_own_criterion_is_part_of_its_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    def fingerprint(name: str, code: str) -> Fingerprint:
        (tmp_path / f"{name}.py").write_text(f"def own(weights):\n    return {code}\n")
        find_criterion(f"{name}:own")
        arm = arms({"criterion": f"{name}:own", "sparsity": 0.5, "name": "own"})["own"]
        told = mask_fingerprint(arm, 0, {})
        del told["pruning"]["criterion"]
        return told

    assert fingerprint("scores_one", "weights**2") == fingerprint("scores_two", "weights**2")
    assert fingerprint("scores_one", "weights**2") != fingerprint("scores_three", "weights**4")
