import hashlib
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.seeding import Streams, evaluation_seeds, stream_seed

STREAMS = Streams("s", "Pendulum-v1", 3, "dense")


def by_hand(text: str) -> int:
    """The first eight bytes of the text's SHA-256, the lowest first."""
    return sum(byte << (8 * place) for place, byte in enumerate(hashlib.sha256(text.encode()).digest()[:8]))


def test_seeds_are_the_hash_of_their_names() -> None:
    # These two numbers come from the shell: printf '["s", "Pendulum-v1", 3, "initial weights"]' | sha256sum
    assert STREAMS.for_weights() == 0x27CC4612A8AD12BF
    assert STREAMS.for_purpose("episode", 7) == 0x4737020D7BF2029A
    assert STREAMS.for_purpose("minibatches") == by_hand('["s", "Pendulum-v1", 3, "dense", "minibatches"]')
    assert evaluation_seeds("s", "Pendulum-v1", 2) == [
        by_hand('["s", "Pendulum-v1", "evaluation", 0]'),
        by_hand('["s", "Pendulum-v1", "evaluation", 1]'),
    ]


def test_initial_weights_are_shared_by_all_arms_and_nothing_else_is() -> None:
    ticket = STREAMS._replace(arm="taylor-95")
    assert ticket.for_weights() == STREAMS.for_weights()
    for purpose in ("minibatches", "warm-up actions", "actions", "updates"):
        assert ticket.for_purpose(purpose) != STREAMS.for_purpose(purpose)
    assert ticket.for_purpose("episode", 0) != STREAMS.for_purpose("episode", 0)


@pytest.mark.parametrize("other", [{"study": "t"}, {"task": "Hopper-v5"}, {"seed": 4}])
def test_initial_weights_follow_from_study_task_and_seed(other: dict[str, str]) -> None:
    assert STREAMS._replace(**other).for_weights() != STREAMS.for_weights()


def test_many_names_share_no_stream() -> None:
    streams = [
        Streams(study, task, seed, arm)
        for study, task, seed, arm in product(("a", "b"), ("A-v0", "B-v0"), range(5), ("dense", "taylor-80"))
    ]
    seeds = [s.for_purpose("episode", k) for s in streams for k in range(200)]
    seeds += [s.for_purpose(purpose) for s in streams for purpose in ("actions", "updates", "minibatches")]
    seeds += {s.for_weights() for s in streams}
    seeds += [
        seed for study, task in product(("a", "b"), ("A-v0", "B-v0")) for seed in evaluation_seeds(study, task, 50)
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 < seed < 2**64 for seed in seeds)


names = st.lists(st.text(max_size=4) | st.integers(-3, 30), min_size=1, max_size=4)


@given(names, names)
def test_names_are_told_apart_wherever_they_are_cut(one: list[str | int], other: list[str | int]) -> None:
    assert (stream_seed(*one) == stream_seed(*other)) == (one == other)


def test_generators_are_independent_of_each_other() -> None:
    one, other = STREAMS.generator("minibatches"), STREAMS.generator("warm-up actions")
    draws = one.normal(size=5_000), other.normal(size=5_000)
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.06
    assert np.array_equal(STREAMS.generator("minibatches").normal(size=5_000), draws[0])


def test_evaluation_episodes_are_a_prefix_of_more_of_them() -> None:
    assert evaluation_seeds("s", "T", 5) == evaluation_seeds("s", "T", 9)[:5]
