import pytest

from rlottery.config import Pruning, Sparsity
from rlottery.errors import RlotteryError
from rlottery.study.arms import arm_for


def name(method: str, **pruning: object) -> str:
    return arm_for(method, Pruning.model_validate(pruning)).name


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
    assert arm_for("magnitude", Pruning(num_gradient_batches=5)) == arm_for("magnitude", Pruning())
    by_size = Pruning(gradient_method="magnitude")
    assert arm_for("gradient", by_size.model_copy(update={"gradient_batch_size": 5})) == arm_for("gradient", by_size)


def test_magnitude_by_the_gradient_method_is_an_arm_of_its_own() -> None:
    arm = arm_for("gradient", Pruning(gradient_method="magnitude"))
    assert arm.name == "gradient-magnitude-80"
    assert (arm.method, arm.recipe.criterion, arm.needs_replay) == ("gradient", "magnitude", False)


def test_only_gradients_need_the_replay_buffer() -> None:
    assert not arm_for("magnitude", Pruning()).needs_replay
    assert arm_for("gradient", Pruning()).needs_replay


def test_every_recipe_has_a_name_of_its_own() -> None:
    recipes = [
        (method, Pruning(sparsity=Sparsity(actor=actor, critic=critic), gradient_method=criterion))
        for method in ("magnitude", "gradient")
        for criterion in ("taylor", "gradient", "magnitude")
        for actor in (0.5, 0.8, 0.95)
        for critic in (0.5, 0.8)
    ]
    arms = {arm_for(method, pruning) for method, pruning in recipes}
    assert len(arms) == 4 * 6
    assert len({arm.name for arm in arms}) == len(arms)


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(RlotteryError, match="'taylor'.*magnitude, gradient"):
        arm_for("taylor", Pruning())
