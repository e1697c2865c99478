"""What is told before anything is submitted, by the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlottery.config.cluster_profile import ClusterProfile, default_profile_text
from rlottery.errors import StudyError
from rlottery.study import clusters
from rlottery.study.clusters import check_is_shared
from rlottery.study.execution import dask
from rlottery.study.mounts import Mount
from tests.command import call, refusal
from tests.study.studies import TINY
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _in_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(TINY)
    Path("cluster.yaml").write_text(default_profile_text())


def test_flags_that_do_not_fit_together_are_refused() -> None:
    assert "--profile is for a study on Slurm: add --on slurm" in refusal("run", "--profile", "cluster.yaml")
    assert "--detach is for a study on Slurm" in refusal("run", "--detach")
    assert "--scheduler is for a study on Dask: add --on dask" in refusal("run", "--scheduler", "tcp://host:8786")
    assert "--detach is for a study on Slurm" in refusal("run", "--on", "dask", "--detach")
    assert "--on dask needs --scheduler ADDRESS" in refusal("run", "--on", "dask")
    assert "--on slurm needs --profile cluster.yaml. `rlottery init --cluster slurm`" in refusal("run", "--on", "slurm")
    assert "--on pbs: unknown. Choose from: slurm, dask." in refusal("run", "--on", "pbs", "--profile", "cluster.yaml")


def test_a_profile_that_is_wrong_is_refused() -> None:
    Path("cluster.yaml").write_text("time: '1:00:00'\ncore: 4\n")
    said = refusal("run", "--on", "slurm", "--profile", "cluster.yaml")
    assert said == "error: cluster.yaml:2: core: unknown key; did you mean 'cores'?\n"


def test_a_machine_without_slurm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    said = refusal("run", "--on", "slurm", "--profile", "cluster.yaml")
    assert "sbatch is not on the path. Run this command on a login node of a Slurm cluster" in said


@pytest.mark.parametrize("kind", ["ext4", "xfs", "zfs", "overlay", "tmpfs"])
def test_a_data_folder_of_this_machine_alone_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, data = ClusterProfile.model_validate({"time": "1:00:00"}), Path("/home/me/study")
    monkeypatch.setattr(clusters, "mount_of", lambda folder: Mount(kind, "/dev/sda", "/", frozenset()))
    with pytest.raises(StudyError, match=rf"belongs to this machine alone \({kind}\).* set data_is_shared: true"):
        check_is_shared(data, profile)
    check_is_shared(data, profile.model_copy(update={"data_is_shared": True}))


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs", "beegfs", "ceph", "wekafs", "fuse.sshfs", ""])
def test_a_data_folder_that_nodes_may_share_is_taken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = ClusterProfile.model_validate({"time": "1:00:00"})
    mount = Mount(kind, "server:/home", "/home", frozenset()) if kind else None
    monkeypatch.setattr(clusters, "mount_of", lambda folder: mount)
    check_is_shared(Path("/home/me/study"), profile)
    with pytest.raises(StudyError, match="belongs to this machine alone"):
        check_is_shared(Path("/tmp/study"), profile)


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs Dask: uv sync, or pip install 'rlottery[dask]'")
    monkeypatch.setattr(dask, "ANSWER_SECONDS", 0.1)
    said = refusal("run", "--on", "dask", "--scheduler", "tcp://127.0.0.1:1")
    assert said.startswith("error: No Dask scheduler answers at tcp://127.0.0.1:1: ") and said.count("\n") == 1
    assert not Path("data").exists()


@pytest.mark.parametrize(
    "address", ["nonsense", "tcp://host", "tcp://host:port", "http://host:8786", "tls://host:8786"]
)
def test_what_is_not_the_address_of_a_scheduler_is_refused_at_once(address: str) -> None:
    """In a process of its own: what Dask leaves behind shows at its end."""
    pytest.importorskip("distributed", reason="needs Dask: uv sync, or pip install 'rlottery[dask]'")
    command = [sys.executable, "-m", "rlottery", "run", "--on", "dask", "--scheduler", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 2 and not Path("data").exists()
    assert done.stderr.startswith(f"error: No Dask scheduler answers at {address}: ") and done.stderr.count("\n") == 1


def test_init_writes_the_profile_and_keeps_one_that_exists() -> None:
    assert "cluster.yaml already exists" in refusal("init", "--cluster", "slurm")
    assert "--cluster pbs: unknown. Choose from: slurm." in refusal("init", "--cluster", "pbs")
    Path("cluster.yaml").unlink()
    code, said, _ = call("init", "--cluster", "slurm")
    assert (
        code == 0
        and said == "Wrote cluster.yaml. Fill it in, then:\n\n  rlottery run --on slurm --profile cluster.yaml\n"
    )
    assert Path("cluster.yaml").read_text() == default_profile_text()
