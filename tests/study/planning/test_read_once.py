"""What the jobs of a plan share is read once, and by everybody else again."""

import pytest

from rlottery.study.planning.read_once import once, reading_once


def test_within_a_plan_each_key_is_read_once_and_later_again() -> None:
    read = iter(range(10))
    assert [once("a", lambda: next(read)) for _ in range(2)] == [0, 1]
    with reading_once():
        assert [once(key, lambda: next(read)) for key in ("a", "b", "a", "b")] == [2, 3, 2, 3]
    with reading_once():
        assert once("a", lambda: next(read)) == 4
    assert once("a", lambda: next(read)) == 5


def test_what_could_not_be_read_is_tried_again() -> None:
    def fail() -> int:
        raise ValueError

    with reading_once():
        with pytest.raises(ValueError):
            once("a", fail)
        assert once("a", lambda: 1) == 1
