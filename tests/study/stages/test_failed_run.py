from pathlib import Path

import pytest

from rlottery.errors import MaskError
from rlottery.storage.manifests import DamagedError, read_manifest
from rlottery.study.stages.failed_run import record_failure
from rlottery.study.stages.run_stage import run_stage
from rlottery.study.status import status_table
from tests.laboratory import Laboratory, laboratory
from tests.study.studies import shown

ARMS = """\
arms:
  - {name: cut, criterion: magnitude, sparsity: SHARE}
  - {name: random, control: random, of: cut}
  - {name: other, transfer: {seed: next}, of: cut}
  - {name: apart, criterion: magnitude, sparsity: 0.5}
"""


def status(lab: Laboratory) -> set[str]:
    """The lines about its runs that `rlottery status` shows, without the task."""
    lines = shown(status_table(lab.config), width=500).splitlines()
    return {" ".join(line.split()[1:]) for line in lines if line.startswith("Pendulum-v1")}


def recorded(lab: Laboratory, arm: str) -> str | None:
    """The error in the manifest of a run; None without a manifest."""
    manifest = read_manifest(lab.job(arm).files)
    return None if manifest is None else manifest["error"]


def test_a_mask_that_cuts_its_network_is_a_failure_of_the_run(tmp_path: Path) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.97"))

    lab.run(lambda job: job.stage == "dense" and job.seed == 0)
    mask = lab.job("cut", "mask")
    for _ in ("at first", "again"):
        with pytest.raises(MaskError, match="The network is cut") as raised:
            run_stage(mask)
    manifest = read_manifest(mask.files)
    assert manifest is not None and manifest["error"] == str(raised.value)
    assert {line for line in status(lab) if " done in " not in line} == {
        "\N{EN DASH} untrained to do",
        f"0 cut failed {raised.value}",
        "0 random not run because cut mask failed",
        "0 other to do",
        "0 apart to do",
        "1 dense to do",
        "1 cut to do",
        "1 random to do",
        "1 other not run because Pendulum-v1 seed 0 cut mask failed",
        "1 apart to do",
    }
    summary = "1 of 10 runs done, 1 failed, 6 to do, 2 not run. Untrained policies: 1 task to do."
    assert shown(status_table(lab.config), width=500).splitlines()[-1] == summary
    assert not any(job.files.folder.exists() for job in lab.jobs if job.arm_name in ("random", "apart"))
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.8"))
    run_stage(lab.job("cut", "mask"))
    assert status(lab) >= {"0 cut mask made ticket not trained yet", "0 random to do", "1 other to do"}


def test_a_failed_training_leaves_the_mask_to_others(tmp_path: Path) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.8"))
    lab.run(lambda job: job.stage == "dense" and job.seed == 0)
    run_stage(lab.job("cut", "mask"))
    record_failure(lab.job("cut"), "the environment failed")
    assert status(lab) >= {"0 cut failed the environment failed", "0 random to do", "1 other to do"}
    run_stage(lab.job("cut", "mask"))  # the mask is intact, so nothing is made
    assert recorded(lab, "cut") == "the environment failed"
    run_stage(lab.job("random", "mask"))
    assert status(lab) >= {"0 cut failed the environment failed", "0 random mask made ticket not trained yet"}


def test_a_mask_that_can_not_be_made_replaces_the_failure_of_a_training(tmp_path: Path) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.97"))
    lab.run(lambda job: job.stage == "dense" and job.seed == 0)
    record_failure(lab.job("cut"), "the environment failed")
    with pytest.raises(MaskError, match="The network is cut") as raised:
        run_stage(lab.job("cut", "mask"))
    assert recorded(lab, "cut") == str(raised.value)
    assert "0 random not run because cut mask failed" in status(lab)


def test_a_fault_of_the_machine_is_no_failure_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.8"))

    def full(job: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlottery.study.stages.run_stage.create_mask", full)
    for earlier in (None, "The network is cut."):
        if earlier is not None:
            record_failure(lab.job("cut", "mask"), earlier)
        with pytest.raises(OSError, match="No space left"):
            run_stage(lab.job("cut", "mask"))
        assert recorded(lab, "cut") == earlier


def test_a_damaged_dense_agent_is_no_failure_of_the_ticket(tmp_path: Path) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.8"))
    lab.run(lambda job: job.stage == "dense" and job.seed == 0)
    agent = lab.job("dense").files.agent
    content = agent.read_bytes()
    agent.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DamagedError, match="agent.safetensors is damaged"):
        run_stage(lab.job("cut", "mask"))
    assert recorded(lab, "cut") is None
