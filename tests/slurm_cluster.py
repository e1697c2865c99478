"""A Slurm cluster of two nodes on this machine, without systemd, root or accounting. Its state is in one folder.

with SlurmCluster(folder) as cluster:
    subprocess.run(["sbatch", ...], env=os.environ | cluster.environment)
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

NODES = ("n1", "n2")
START_SECONDS = 600.0
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
_PLACES = "/usr/sbin:/sbin"
CONFIGURATION = """\
ClusterName=rlottery
SlurmctldHost={host}
SlurmctldAddr=127.0.0.1
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdTimeout=20
SlurmdParameters=config_overrides
KillWait=30
MaxArraySize=5
ReturnToService=2
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
{nodes}
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=n[1-2] MaxTime=0:30:00 State=UP
"""


def missing() -> str:
    """What has to be installed for a cluster, in words; "" if all is there."""
    absent = [name for name in _PROGRAMS if _program(name) is None]
    return f"no {absent[0]}: install Slurm, such as by apt-get install slurm-wlm munge" if absent else ""


class SlurmCluster:
    """Munge, a controller and the daemons of two nodes, from `with` to its end."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Self:
        folder, host = self._folder, socket.gethostname().partition(".")[0]
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        controller, *ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN"
            for node, port in zip(NODES, ports, strict=True)
        )
        text = CONFIGURATION.format(host=host, port=controller, user=getpass.getuser(), folder=folder, nodes=nodes)
        (folder / "slurm.conf").write_text(text)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        with contextlib.ExitStack() as failed:
            failed.callback(self.__exit__)
            names = ("socket", "pid", "log", "seed")
            options = [f"--{name}{'-file' * (name != 'socket')}={folder}/munge.{name}" for name in names]
            self._start("munged", "--foreground", "--force", f"--key-file={folder}/munge.key", *options)
            _wait(lambda: (folder / "munge.socket").exists(), "munged makes no socket")
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            _wait(lambda: self.ask("sinfo", "--noheader", "--format=%T %D") == "idle 2", f"no idle nodes: {folder}")
            failed.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.ask("scancel", f"--user={getpass.getuser()}")
        for name in reversed(list(self._daemons)):
            self._end(name, signal.SIGTERM)

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=600
        ).stdout.strip()

    def start_node(self, node: str) -> None:
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Kill the daemon of a node. Its jobs' processes live on, unseen."""
        self._end(node, signal.SIGKILL)

    def cut_power(self, node: str) -> None:
        """Kill everything that runs on a node, so that Slurm hears no more of it."""
        self.kill_node(node)
        # Each step has a socket: n1_12.0
        jobs = {path.name.partition("_")[2].partition(".")[0] for path in self._spool(node).glob(f"{node}_*")}
        for is_step in (True, False):  # steps first: they would report that their processes were killed
            for pid in self._processes():
                title = _read(pid, "cmdline").partition(" [")[2].partition(".")[0]
                job = title if is_step else _variables(pid).get("SLURM_JOB_ID")
                if job in jobs:
                    self.kill_process(pid)

    def kill_process(self, pid: int) -> bool:
        """Kill a process of a job. Returns whether it was one, and lived."""
        if pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def kill_controller(self) -> None:
        self._end("slurmctld", signal.SIGKILL)

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")

    def _processes(self) -> list[int]:
        """All processes of the jobs of this cluster, and of their steps."""
        numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        daemons = {daemon.pid for daemon in self._daemons.values()}
        mine = f"{self._folder}/slurm.conf"
        return [pid for pid in numbers if pid not in daemons and _is_of_job(pid, mine)]

    def _spool(self, node: str) -> Path:
        return self._folder / f"spool-{node}"

    def _start(self, program: str, *arguments: str, name: str = "") -> None:
        log = (self._folder / f"{name or program}.out").open("ab")
        path = _program(program)
        assert path is not None
        with log:
            self._daemons[name or program] = subprocess.Popen(
                [path, *arguments],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end(self, name: str, number: int) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(10.0)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _read(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace").rstrip("\0")
    return ""


def _variables(pid: int) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in _read(pid, "environ").split("\0"))


def _is_of_job(pid: int, configuration: str) -> bool:
    found = _variables(pid)
    is_step = _read(pid, "cmdline").startswith("slurmstepd: [")
    return found.get("SLURM_CONF") == configuration and (is_step or "SLURM_JOB_ID" in found)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PLACES}")


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _wait(holds: object, what: str) -> None:
    assert callable(holds)
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)
