"""What a real Slurm of two nodes says, and what becomes of jobs there."""

import getpass
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlottery.config.cluster_profile import ClusterProfile
from rlottery.errors import StudyError
from rlottery.storage.paths import Store
from rlottery.study.cancelling import cancel_study
from rlottery.study.clusters import OnSlurm
from rlottery.study.execution.allocations import open_runs
from rlottery.study.execution.cluster import Phase, RefusedError, Standing
from rlottery.study.execution.slurm import SavingCommand, Slurm, check_slurm, sbatch_flags, submit
from tests.faults import ALWAYS, digests, sessions, start, starter_of_node
from tests.slurm_cluster import SlurmCluster, missing
from tests.study.execution.in_process import run_in_this_process
from tests.study.studies import tiny_config
from tests.waiting import PATIENCE_SECONDS, Hold, make_study, wait_for, without_runs

PROFILE = "{time: '0:30:00', memory: 100M, data_is_shared: true}"
ON = ("--on", "slurm", "--profile", "cluster.yaml", ALWAYS)
_needs_slurm = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@_needs_slurm
def test_what_slurm_refuses_is_told_before_anything_is_submitted(
    cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    good = ClusterProfile.model_validate({"time": "1:00:00", "memory": "100M"})
    check_slurm(good)
    for bad, said in (
        ({"partition": "nowhere"}, "Slurm would not take these jobs: .*[Ii]nvalid partition"),
        ({"cores": 500}, "Slurm would not take these jobs: .*[Rr]equested node configuration is not available"),
        ({"constraint": "zen9"}, "Slurm would not take these jobs: .*[Ii]nvalid feature"),
        ({"partition": "short"}, "their time limit is 60 minutes, and the partition's is 30"),
    ):
        with pytest.raises(StudyError, match=said):
            check_slurm(good.model_copy(update=bad))
    assert cluster.ask("squeue", "--noheader") == ""


@_needs_slurm
def test_an_array_that_is_too_large_is_refused(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    profile = ClusterProfile.model_validate({"time": "1:00:00", "memory": "100M"})
    commands = [SavingCommand(["true"])] * 6
    with pytest.raises(RefusedError, match="[Ii]nvalid job array specification"):
        submit(Store(tmp_path / "data"), profile, commands, sbatch_flags(profile), tmp_path / "jobs")
    assert cluster.ask("squeue", "--noheader") == ""


@_needs_slurm
def test_a_study_with_jobs_in_the_queue_is_joined_and_not_detached_again(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    (tmp_path / "cluster.yaml").write_text(PROFILE.replace("{", "{setup: [sleep 60], "))
    (tmp_path / "refused.yaml").write_text(PROFILE.replace("{", "{partition: nowhere, "))
    told, config = list[str](), tiny_config(tmp_path)
    with pytest.raises(StudyError, match="Slurm would not take these jobs"):
        OnSlurm(tmp_path / "refused.yaml", config, told.append)
    slurm = OnSlurm(tmp_path / "cluster.yaml", config, told.append)
    assert not told
    said = slurm.detach()
    OnSlurm(tmp_path / "refused.yaml", config, told.append)
    assert "Jobs of this study are in the queue, so this command continues." in told[0]
    with pytest.raises(StudyError, match="A job of --detach is queued or running already"):
        slurm.detach()
    cluster.ask("scancel", said.split("Slurm job ")[1].partition(",")[0])
    wait_for(lambda: cluster.ask("squeue", "--noheader") == "")
    assert "Submitted as Slurm job" in slurm.detach(), "one that was cancelled is no more"
    cluster.ask("scancel", f"--user={getpass.getuser()}")


SAVES_AT_SIGTERM = """\
trap 'echo saved >> log; exit 75' TERM
echo "job $SLURM_JOB_ID began" >> log
if [ $(grep -c began log) = 2 ]; then echo finished >> log; exit 0; fi
while true; do sleep 0.1; done
"""
"""What a node does, as far as Slurm is concerned: at first more is left to do than fits the time limit."""


@_needs_slurm
def test_a_job_that_is_warned_of_its_time_limit_saves_and_goes_on_as_the_same_job(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    store, log = Store(tmp_path / "data"), tmp_path / "log"
    profile = ClusterProfile.model_validate({"time": "0:30:00", "memory": "100M", "setup": [f"cd {tmp_path}"]})
    jobs, flags = tmp_path / "jobs", sbatch_flags(profile) | {"comment": "batch"}
    commands = [SavingCommand(["bash", "-c", SAVES_AT_SIGTERM]), SavingCommand(["bash", "-c", "echo other >> other"])]
    first, second = submit(store, profile, commands, flags, jobs)
    assert second == first.replace("_0", "_1")
    wait_for(lambda: "began" in written(log) and written(tmp_path / "other") == "other\n")
    assert (Slurm(store, profile).standings() or {})["batch", 0] == Standing(Phase.RUNNING)
    cluster.ask("scancel", "--signal=USR2", first)  # Slurm's warning reaches all processes of a job
    wait_for(lambda: "finished" in written(log))
    job = written(log).split()[1]
    began = f"job {job} began\n"
    assert written(log) == f"{began}saved\n{began}finished\n"
    wait_for(lambda: Slurm(store, profile).standings() == {})


@_needs_slurm
def test_exactly_the_jobs_of_a_study_are_cancelled_and_those_that_run_save(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    folders, told = [tmp_path / name for name in ("mine", "others")], list[str]()
    (tmp_path / "cluster.yaml").write_text(PROFILE.replace("{", "{setup: [sleep 600], "))
    for folder in folders:
        profile = ClusterProfile.model_validate({"time": "0:30:00", "memory": "100M", "setup": [f"cd {folder}"]})
        folder.mkdir()
        slurm = OnSlurm(tmp_path / "cluster.yaml", tiny_config(folder), told.append)
        slurm.detach()
        flags = sbatch_flags(profile) | {"comment": "batch"}
        submit(
            Store(folder / "data"), profile, [SavingCommand(["bash", "-c", SAVES_AT_SIGTERM])], flags, folder / "jobs"
        )
    wait_for(lambda: all("began" in written(folder / "log") for folder in folders))
    wait_for(lambda: cluster.ask("squeue", "--noheader", "--format=%T").split() == ["RUNNING"] * 4)
    cancel_study(Store(folders[0] / "data"), None, told.append)
    assert told == [
        "Cancelled 2 jobs on Slurm: 2 running.",
        "Runs that were under way save checkpoints first. To continue, run the study again.",
    ]
    wait_for(lambda: "saved" in written(folders[0] / "log"))
    wait_for(lambda: cluster.ask("squeue", "--noheader", "--format=%T").split() == ["RUNNING"] * 2)
    assert "saved" not in written(folders[1] / "log")
    cancel_study(Store(folders[0] / "data"), None, told.append)
    assert told[2:] == [f"Nothing to cancel: no jobs of {folders[0] / 'data'} are left on Slurm."]
    cancel_study(Store(folders[1] / "data"), None, told.append)
    wait_for(lambda: cluster.ask("squeue", "--noheader") == "")


@_needs_slurm
def test_a_study_on_slurm_ends_in_the_same_bits_whatever_happens_to_its_jobs(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    here = make_study(tmp_path / "here")
    run_in_this_process(here)
    there = without_runs(here, tmp_path / "there")
    (there / "cluster.yaml").write_text(PROFILE)
    store, environment = Store(there / "data"), cluster.environment
    dense, ticket = (store.run("held_Held-v0", 0, arm) for arm in ("dense", "magnitude-80"))
    dense_held, ticket_held = (Hold(there, run.folder.name) for run in (dense, ticket))
    assert start(there, *ON, "--detach", environment=environment).wait(PATIENCE_SECONDS) == 0
    wait_for(lambda: open_runs(store))  # the job of --detach hands in
    process = start(there, *ON, environment=environment)
    wait_for(dense_held.is_reached, process)
    job = open_runs(store)["held_Held-v0", 0, ""].name
    cluster.ask("scancel", "--signal=USR2", job)  # Slurm's warning before a limit
    wait_for(lambda: "Continuing from environment step" in dense.log("dense").read_text(), process)
    dense_held.release()
    wait_for(ticket_held.is_reached, process)
    head = written(there / "command.log").split("Submitted as Slurm job ")[1].partition(",")[0]
    cluster.ask("scancel", "--signal=KILL", head)
    os.kill(starter_of_node(ticket), signal.SIGKILL)
    ticket_held.release()
    assert process.wait(PATIENCE_SECONDS) == 0, (there / "command.log").read_text()
    said = (there / "command.log").read_text()
    assert "Joining the command that runs this study" in said and "This one continues its work" in said
    expected = digests(here / "data")
    assert digests(there / "data") == expected and len(expected) == 12
    assert sessions(dense) == sessions(ticket) == 2
    [left] = (there / "data/.cluster").rglob("*_log.out")
    assert left.parent.name.startswith("head-"), "what nodes were told is gone"


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""
