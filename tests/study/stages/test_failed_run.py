from pathlib import Path

import pytest

from rlottery.errors import MaskError
from rlottery.storage.manifests import read_manifest
from rlottery.study.stages.run_stage import run_stage
from rlottery.study.status import status_table
from tests.laboratory import laboratory
from tests.study.studies import shown

ARMS = """\
arms:
  - {name: cut, criterion: magnitude, sparsity: SHARE}
  - {name: random, control: random, of: cut}
  - {name: other, transfer: {seed: next}, of: cut}
  - {name: apart, criterion: magnitude, sparsity: 0.5}
"""


def test_a_mask_that_cuts_its_network_is_a_failure_of_the_run(tmp_path: Path) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.97"))

    def status() -> set[str]:
        lines = shown(status_table(lab.config), width=500).splitlines()
        return {" ".join(line.split()[1:]) for line in lines if line.startswith("Pendulum-v1")}

    lab.run(lambda job: job.stage == "dense" and job.seed == 0)
    mask = lab.job("cut", "mask")
    for _ in ("at first", "again"):
        with pytest.raises(MaskError, match="The network is cut") as raised:
            run_stage(mask)
    manifest = read_manifest(mask.files)
    assert manifest is not None and manifest["error"] == str(raised.value)
    assert {line for line in status() if " done in " not in line} == {
        "\N{EN DASH} untrained to do",
        f"0 cut failed {raised.value}",
        "0 random not run because cut failed",
        "0 other to do",
        "0 apart to do",
        "1 dense to do",
        "1 cut to do",
        "1 random to do",
        "1 other not run because Pendulum-v1 seed 0 cut failed",
        "1 apart to do",
    }
    summary = "1 of 10 runs done, 1 failed, 6 to do, 2 not run. Untrained policies: 1 task to do."
    assert shown(status_table(lab.config), width=500).splitlines()[-1] == summary
    assert not any(job.files.folder.exists() for job in lab.jobs if job.arm_name in ("random", "apart"))
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.8"))
    run_stage(lab.job("cut", "mask"))
    assert status() >= {"0 cut mask made ticket not trained yet", "0 random to do", "1 other to do"}


def test_a_fault_of_the_machine_is_no_failure_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = laboratory(tmp_path, ARMS.replace("SHARE", "0.8"))

    def full(job: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlottery.study.stages.run_stage.create_mask", full)
    with pytest.raises(OSError, match="No space left"):
        run_stage(lab.job("cut", "mask"))
    assert not lab.job("cut").files.manifest.exists()
