"""How many cores a study uses, and that two studies at once use different ones."""

import os
from pathlib import Path

import pytest

from rlottery.study.execution import cores
from rlottery.study.execution.cgroups import Limit
from rlottery.study.execution.cores import claim_core, pin, usable_cores


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores that this process may use, without quota and Slurm, and claims of this test alone."""
    for name in cores._SLURM:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cores, "available_cores", lambda: list(range(8)))
    monkeypatch.setattr(cores, "cpu_quota", lambda root: None)
    monkeypatch.setattr(cores, "_CLAIMS", f"{tmp_path.name}-{os.getpid()}")


class TestNumber:
    def test_all(self) -> None:
        assert usable_cores() == (8, "all cores")

    def test_affinity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cores, "available_cores", lambda: [2, 5])
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")  # of another step: Slurm has set the affinity of this one
        assert usable_cores() == (2, "the affinity of this process")

    @pytest.mark.parametrize(("quota", "number"), [(0.5, 1), (1.25, 1), (2.5, 2), (7.99, 7), (20.0, 8)])
    def test_a_quota_is_rounded_down_to_one_at_least(
        self, monkeypatch: pytest.MonkeyPatch, quota: float, number: int
    ) -> None:
        monkeypatch.setattr(cores, "cpu_quota", lambda root: Limit(quota, "/group/cpu.max"))
        found = usable_cores()
        assert found.number == number
        assert found.why == ("all cores" if number == 8 else f"/group/cpu.max allows {quota} cores")

    @pytest.mark.parametrize(
        ("variables", "found"),
        [
            ({"SLURM_CPUS_PER_TASK": "4"}, (4, "SLURM_CPUS_PER_TASK=4")),
            ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "2"}, (4, "SLURM_CPUS_PER_TASK=4")),
            ({"SLURM_CPUS_ON_NODE": "2"}, (2, "SLURM_CPUS_ON_NODE=2")),
            ({"SLURM_CPUS_PER_TASK": "64"}, (8, "all cores")),
            ({"SLURM_CPUS_PER_TASK": "0"}, (8, "all cores")),
            ({"SLURM_CPUS_PER_TASK": "4(x2)"}, (8, "all cores")),
        ],
    )
    def test_slurm(self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], found: tuple[int, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert usable_cores() == found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="workers are not pinned here")
class TestClaims:
    def test_each_core_is_claimed_once_until_it_is_released(self) -> None:
        claims = [claim_core() for _ in range(8)]
        assert [claim.core for claim in claims if claim] == list(range(8))
        assert claim_core() is None
        claims[3].release()  # type: ignore[union-attr]
        again = claim_core()
        assert again is not None and again.core == 3
        for claim in [*claims, again]:
            claim.release()  # type: ignore[union-attr]

    def test_none_where_others_share_the_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cores, "cpu_quota", lambda root: Limit(2.0, "/group/cpu.max"))
        assert claim_core() is None

    def test_none_where_nothing_can_be_claimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cores, "_CLAIMS", "x" * 200)  # no name of a socket
        assert claim_core() is None

    def test_a_core_that_is_gone(self) -> None:
        before = os.sched_getaffinity(0)
        pin(100_000)
        assert os.sched_getaffinity(0) == before
