"""Masks whose critics see no action teach the actor nothing."""

from typing import Any

import jax
import numpy as np
import pytest

from rlottery.agents.base import kernels, nest_masks
from rlottery.pruning.untaught import blind_networks, is_untaught, untaught_in_words
from tests.cases import CASES, Case, random_batch

TAUGHT = [case for case in CASES if case.description.teachers]


def full(case: Case, params: Any) -> dict[str, dict[str, np.ndarray]]:
    return {g: {path: np.ones(k.shape, np.bool_) for path, k in kernels(params[g]).items()} for g in case.groups}


@pytest.mark.parametrize("case", TAUGHT, ids=str)
def test_the_actors_gradient_is_the_same_whatever_the_critics_learned_if_these_see_no_action(case: Case) -> None:
    settings = case.settings(8, 6)
    state, other = case.fresh(settings), case.fresh(settings, seed=1)
    batch, key = random_batch(case.spec), jax.random.key(3)

    def gradient(masks: Any, critic: Any) -> list[np.ndarray]:
        params = {"actor": state.params["actor"], "critic": critic}
        masked = case.algorithm.with_masks(state._replace(params=params), nest_masks(masks))
        loss = case.algorithm.losses(masked, batch, key, settings)["actor"]
        return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.grad(loss)(masked.params["actor"]))]

    def depends_on_critics(masks: Any) -> bool:
        pairs = zip(gradient(masks, state.params["critic"]), gradient(masks, other.params["critic"]), strict=True)
        return any(not np.array_equal(one, two) for one, two in pairs)

    observation, teachers = case.spec.observation_size, case.description.teachers
    masks = full(case, state.params)
    assert blind_networks(masks, "actor") == ()
    assert depends_on_critics(masks)
    for number, path in enumerate(teachers, start=1):
        q = path.removeprefix("critic.")
        # In turn: no weight of the action is left, or those that are left lead to units without a way to the output.
        if number == 1:
            masks["critic"][f"{q}.layer_0"][observation:] = False
        else:
            masks["critic"][f"{q}.layer_0"][observation:, 1:] = False
            masks["critic"][f"{q}.layer_1"][0] = False
        assert blind_networks(masks, "actor") == teachers[:number]
        untaught = number == len(teachers)
        assert is_untaught(blind_networks(masks, "actor"), teachers) == untaught
        assert depends_on_critics(masks) != untaught


def test_a_critic_that_teaches_nobody_may_be_blind() -> None:
    (td3,) = (case for case in TAUGHT if case.name == "td3")
    masks = full(td3, td3.fresh(td3.settings(8, 6)).params)
    masks["critic"]["q2.layer_0"][td3.spec.observation_size :] = False
    assert blind_networks(masks, "actor") == ("critic.q2",)
    assert not is_untaught(("critic.q2",), td3.description.teachers)
    assert not is_untaught(("critic.q2",), ())


def test_in_words() -> None:
    assert untaught_in_words(("critic.q1", "critic.q2"), "actor") == (
        "no action reaches the output of critic.q1 or critic.q2, through which the actor learns, so that it learns "
        "nothing from them"
    )
