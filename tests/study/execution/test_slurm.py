"""What rlottery says to Slurm and reads from it. `tests/test_slurm.py` runs a study on a real one."""

import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlottery.config.cluster_profile import ClusterProfile
from rlottery.errors import StudyError
from rlottery.processes.stopping import TERMINATED
from rlottery.storage.paths import Store
from rlottery.study.execution import slurm
from rlottery.study.execution.cluster import Cancelled, Phase, Standing
from rlottery.study.execution.slurm import (
    SavingCommand,
    SlurmJobs,
    job_name,
    most_minutes,
    read_standings,
    sbatch_flags,
)

LISTED = """\
20261129-a|0|RUNNING|None
20261129-a|1|PENDING|Priority
20261129-a|2|PENDING|QOSMaxJobsPerUserLimit
20261129-a|3|COMPLETED|None
20261129-b|N/A|CANCELLED|None
20261129-c|N/A|REQUEUED|BeginTime
head|N/A|RUNNING|None

nonsense
"""


def test_what_squeue_lists_is_read_by_batch_and_index() -> None:
    assert read_standings(LISTED) == {
        ("20261129-a", 0): Standing(Phase.RUNNING),
        ("20261129-a", 1): Standing(Phase.QUEUED),
        ("20261129-a", 2): Standing(Phase.QUEUED, "QOSMaxJobsPerUserLimit"),
        ("20261129-b", 0): Standing(Phase.CANCELLED),
        ("20261129-c", 0): Standing(Phase.QUEUED, "BeginTime"),
        ("head", 0): Standing(Phase.RUNNING),
    }


QUEUE = """\
20261129-a|RUNNING|12_0
20261129-a|PENDING|12_1
20261129-a|COMPLETING|12_2
20261129-b|CANCELLED|13
20261129-c|REQUEUED|14
head-1|RUNNING|15

"""


def test_jobs_are_cancelled_by_their_arrays_and_those_that_end_anyway_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, given, fails = Store(tmp_path), list[Sequence[str]](), list[str]()

    def answer(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        given.append(command)
        code = int(command[0] in fails)
        return subprocess.CompletedProcess(command, code, QUEUE, "slurm_load_jobs error: Unable to contact" * code)

    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    monkeypatch.setattr(slurm, "ask", answer)
    jobs = SlurmJobs(store)
    assert f"--name={job_name(store)}" in given[0]
    assert jobs.cancel_submitting("head") == Cancelled(running=1, queued=0) and given[-1] == ["scancel", "15"]
    assert jobs.cancel() == Cancelled(running=2, queued=2) and given[-1] == ["scancel", "12", "14", "15"]
    fails.append("scancel")
    with pytest.raises(StudyError, match=r"has not cancelled all jobs: .*Unable to contact\. Run this command again\."):
        jobs.cancel()
    fails.append("squeue")
    with pytest.raises(StudyError, match="Slurm doesn't answer: .*Unable to contact"):
        SlurmJobs(store)


def test_a_profile_asks_for_cores_and_memory_or_for_whole_nodes() -> None:
    profile = ClusterProfile.model_validate({"time": "2:00:00", "cores": 4, "partition": "cpu", "memory": "3G"})
    flags = {"time": 120, "cpus-per-task": 4, "nodes": 1, "ntasks": 1, "partition": "cpu", "requeue": True}
    assert sbatch_flags(profile) == flags | {"mem-per-cpu": "3G"}
    whole = profile.model_copy(update={"whole_nodes": True})
    assert sbatch_flags(whole) == flags | {"mem": "0", "exclusive": True}


PARTITIONS = """\
PartitionName=long AllowGroups=ALL Default=YES DefaultTime=NONE MaxTime=2-00:00:00 MinNodes=0 Nodes=n[1-2]
PartitionName=short AllowGroups=ALL Default=NO DefaultTime=NONE MaxTime=01:30:30 MinNodes=0 Nodes=n[1-2]
PartitionName=free AllowGroups=ALL Default=NO DefaultTime=NONE MaxTime=UNLIMITED MinNodes=0 Nodes=n[1-2]
"""


def test_the_time_limit_is_that_of_the_most_patient_partition_that_jobs_are_for() -> None:
    expected = {None: 2880, "short": 91, "short,long": 2880, "free": None, "short,free": None, "unlisted": None}
    assert {names: most_minutes(PARTITIONS, names) for names in expected} == expected
    assert most_minutes("", None) is None


SAVES = f"""\
import pathlib, signal, sys, time
def save(number, frame):
    pathlib.Path(sys.argv[1]).write_text("saved, " + str(signal.SIGUSR2 in signal.sigpending()))
    sys.exit({TERMINATED})
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[2]).write_text("")
time.sleep(600)
"""


DIES = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"


def test_at_the_warning_the_command_saves_and_what_continues_is_returned(tmp_path: Path) -> None:
    saved, began = tmp_path / "saved", tmp_path / "began"
    command = pickle.loads(pickle.dumps(SavingCommand([sys.executable, "-c", SAVES, str(saved), str(began)])))
    codes = list[int]()
    thread = threading.Thread(target=lambda: codes.append(command()))
    thread.start()
    while not began.exists():
        time.sleep(0.01)
    again = command.checkpoint()
    thread.join()
    assert saved.read_text() == "saved, True" and codes == [TERMINATED]
    assert isinstance(again.function, SavingCommand) and again.function._command == command._command


def test_a_command_that_dies_of_the_warning_continues(tmp_path: Path) -> None:
    command, began = SavingCommand([sys.executable, "-c", DIES, str(tmp_path / "began")]), tmp_path / "began"
    thread = threading.Thread(target=command)
    thread.start()
    while not began.exists():
        time.sleep(0.01)
    assert command.checkpoint() is not None
    thread.join()


def test_nothing_continues_that_has_ended(tmp_path: Path) -> None:
    command = SavingCommand([sys.executable, "-c", "pass"])
    assert command() == 0 and command.checkpoint() is None
