"""A small version of `tests/two_hosts.py`."""

import random
from pathlib import Path

from tests.two_hosts import QUICK_STALE_SECONDS, count_wrong, disturb


def test_two_machines_without_locks_publish_nothing_twice(tmp_path: Path) -> None:
    disturb(tmp_path, 4, ["node1", "node2"], QUICK_STALE_SECONDS, random.Random(0), with_locks=False)
    twice, differing, _ = count_wrong(tmp_path, 4)
    assert (twice, differing) == (0, 0)
