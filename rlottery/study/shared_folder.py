"""What a data folder's file system can do, for `rlottery doctor --data`: how it is mounted, and what was seen to hold.

Child processes try locks, names and renames in the folder. They run on this machine: whether locks hold between
machines can only be said from the file system's type and its mount options. `tests/two_hosts.py` tries it.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rlottery.errors import RlotteryError
from rlottery.storage.syncing import sync_file, sync_folder
from rlottery.study.doctor import Finding, Severity
from rlottery.study.mounts import OF_ONE_MACHINE, Mount, mount_of
from rlottery.study.resources.disk_space import size

TRIERS, NAMES, RENAMES = 3, 50, 200
"""How many processes try to make how many names, and how many renames one process makes while another reads."""
TRY_SECONDS = 60.0
_LOST = {"tmpfs": "it is memory: all is lost when the machine is started again", "overlay": "it is a container's layer"}
_LEASES = "Runs are kept apart by their leases alone, and a lost node's runs are taken over after 120 seconds."

_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "a")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("locked", flush=True)
except BlockingIOError:
    print("refused", flush=True)
except OSError as error:
    print(error.strerror, flush=True)
sys.stdin.read()
"""
_MAKE_NAMES = """
import os, sys
own = f"own-{os.getpid()}"
open(own, "x").close()
print("ready", flush=True)
sys.stdin.readline()
made = []
for number in range(int(sys.argv[1])):
    for make in (lambda name: os.link(own, f"link-{name}"), lambda name: os.mkdir(f"folder-{name}")):
        try:
            make(number)
            made.append("1")
        except FileExistsError:
            made.append("0")
        except OSError as error:
            made.append(error.strerror.replace(" ", "_"))
print(*made, flush=True)
"""
_RENAME = """
import os, sys
for number in range(int(sys.argv[1])):
    with open("partial", "w") as file:
        file.write(chr(97 + number % 26) * 65536)
    os.replace("partial", "whole")
"""


def check_shared_folder(folder: Path) -> list[Finding]:
    """What the file system of a data folder is, what was seen to hold there, and what that means for several machines.

    Raises RlotteryError unless it is a folder in which files can be made.
    """
    if not folder.is_dir():
        what = "is not a folder" if os.path.lexists(folder) else "doesn't exist"
        raise RlotteryError(f"{folder} {what}. Give the data folder of a study, or make one: mkdir {folder}")
    try:
        tried = Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
    except OSError as error:
        raise RlotteryError(
            f"Nothing can be written to {folder}: {error.strerror}. Choose another folder, or change its permissions."
        ) from None
    try:
        mount, free = mount_of(folder), shutil.disk_usage(folder)
        seen = [_locks(tried), *_names(tried), _renames(tried), _syncs(tried)]
    finally:
        shutil.rmtree(tried, ignore_errors=True)
    if mount is None:
        where = Finding("file system", "not known on this system: the command `mount` shows it", Severity.HINT)
    else:
        options = ",".join(sorted(mount.options))
        where = Finding("file system", f"{mount.kind}: {mount.source} on {mount.point} ({options})", Severity.HINT)
    space = Finding("free space", f"{size(free.free)} of {size(free.total)}")
    return [where, *seen, space, *([] if mount is None else [between_machines(mount)])]


def between_machines(mount: Mount) -> Finding:
    """What the type of a file system and its options mean for commands on several machines."""
    kind, options = mount.kind, mount.options
    values = dict(option.partition("=")[::2] for option in options)

    def note(text: str) -> Finding:
        return Finding("several machines", text, Severity.NOTE)

    if kind in OF_ONE_MACHINE:
        lost = f" ({_LOST[kind]})" if kind in _LOST else ""
        text = f"only this machine has this folder{lost}. A study on several nodes needs a folder that they share."
        return Finding("several machines", text, Severity.NOTE if lost else Severity.HINT)
    if kind in ("nfs", "nfs4"):
        if "nolock" in options or values.get("local_lock", "none") in ("all", "flock"):
            fix = "To have locks between machines, mount without nolock and local_lock."
            return note(f"each machine has locks of its own on this mount. {_LEASES} {fix}")
        given = (values.get(name, "") for name in ("acregmax", "acdirmax", "actimeo"))
        longest = max((int(value) for value in given if value.isdecimal()), default=0)
        if longest > 60:
            return note(
                f"locks hold, but changes stay hidden for {longest} seconds, so that a live node may look dead. Mount "
                "with actimeo=60 or less."
            )
        return Finding("several machines", "locks and leases hold between machines")
    if kind == "ceph" or (kind == "lustre" and "flock" in options):
        return Finding("several machines", "locks and leases hold between machines")
    if kind == "lustre":
        fix = "To have locks between machines, mount with flock."
        own = "each machine has locks of its own" if "localflock" in options else "there are no locks"
        return note(f"{own} on this mount. {_LEASES} {fix}")
    if kind == "gpfs":
        return note(f"two nodes were seen to hold the same lock on GPFS. {_LEASES}")
    if kind == "beegfs":
        return note(f"locks hold only with tuneUseGlobalFileLocks=true in beegfs-client.conf. Without it: {_LEASES}")
    return note(f"whether locks hold between machines is not known for {kind}. If they don't: {_LEASES}")


def _locks(folder: Path) -> Finding:
    """Whether a second process is refused a lock, and gets it once the first was killed."""
    with _child(folder, _LOCK, "lock") as first:
        answers = [_line(first)]
        with _child(folder, _LOCK, "lock") as second:
            answers.append(_line(second))
        first.kill()
        first.wait()
        with _child(folder, _LOCK, "lock") as third:
            answers.append(_line(third))
    if answers == ["locked", "refused", "locked"]:
        return Finding("locks (flock)", "held between two processes of this machine, and freed when one was killed")
    if answers[0] == "locked":
        seen = "two processes of this machine had the same lock" if answers[1] == "locked" else ", ".join(answers)
        return Finding("locks (flock)", f"don't hold: {seen}. Choose another folder.", Severity.MISSING)
    fix = "Mount Lustre with flock, and NFS without nolock; or choose another folder."
    return Finding("locks (flock)", f"can't be used: {answers[0]}. {fix}", Severity.MISSING)


def _names(folder: Path) -> Iterator[Finding]:
    """Whether each name goes to one of several processes that try to make it at once."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(folder, _MAKE_NAMES, str(NAMES))) for _ in range(TRIERS)]
        for child in children:
            _line(child)
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        made = [_line(child).split() for child in children]
    for about, start in (("names (link)", 0), ("names (mkdir)", 1)):
        tries = [one[start::2] for one in made]
        faults = {answer.replace("_", " ") for one in tries for answer in one} - {"0", "1"}
        # Of each name, how many processes made it.
        winners = {sum(answer == "1" for answer in answers) for answers in zip(*tries, strict=False)}
        if faults and about == "names (link)":
            text = f"can't be used ({', '.join(sorted(faults))}): leases are made without links"
            yield Finding(about, text, Severity.NOTE)
        elif faults or winners != {1}:
            wrong = ", ".join(sorted(faults)) or "several processes made the same one, or none did"
            yield Finding(about, f"don't hold: {wrong}. Choose another folder.", Severity.MISSING)
        else:
            yield Finding(about, f"{NAMES} of {NAMES} went to one of {TRIERS} processes that tried at once")


def _renames(folder: Path) -> Finding:
    """Whether a file that is replaced by renaming is whole at every moment."""
    whole, reads, broken = folder / "whole", 0, 0
    with _child(folder, _RENAME, str(RENAMES)) as child:
        while child.poll() is None:
            try:
                content = whole.read_bytes()
            except FileNotFoundError:
                broken += reads > 0
                continue
            except OSError:  # a stale handle, on NFS
                continue
            reads += 1
            broken += len(content) != 65536 or content.count(content[:1]) != 65536
    if child.returncode or broken:
        why = f"{broken} of {reads} reads were not" if broken else "renaming failed"
        return Finding("renames", f"a replaced file must be whole at every moment, and {why}", Severity.MISSING)
    return Finding("renames", f"a file that was replaced {RENAMES} times was whole in {reads} reads")


def _syncs(folder: Path) -> Finding:
    path, began = folder / "synced", time.monotonic()
    try:
        path.write_bytes(b"x" * 65536)
        sync_file(path)
        sync_folder(folder)
    except OSError as error:
        return Finding("fsync", f"fails: {error.strerror}. A power cut may lose finished runs.", Severity.MISSING)
    return Finding("fsync", f"works, {1000 * (time.monotonic() - began):.0f} ms for a file and its folder")


@contextlib.contextmanager
def _child(folder: Path, code: str, argument: str) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-I", "-S", "-c", code, argument]
    pipe = subprocess.PIPE
    child = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=folder, text=True)
    alarm = threading.Timer(TRY_SECONDS, child.kill)
    alarm.start()
    try:
        yield child
    finally:
        alarm.cancel()
        child.kill()
        child.communicate()


def _line(child: subprocess.Popen[str]) -> str:
    """The next line of a child's answer."""
    assert child.stdout is not None
    return child.stdout.readline().strip() or f"no answer in {TRY_SECONDS:.0f} seconds"
