"""Leases: one process of one machine at a time works on a run, also where a file system's locks don't reach further.

A lease stands next to the lock file of a run (`rlottery.storage.locks`), whose holder alone takes it. Locks hold
between the processes of one machine. On some cluster file systems they don't hold between machines; creating a name
does, on all of them.

    .locks/{task}/seed_{seed}/{arm}.lock.000000007        the seventh lease: a link to its owner's heartbeat
    .locks/{task}/seed_{seed}/{arm}.lock.000000007.free   its owner has released it

The number is the fencing token. To take a lease is to create the next number, which only one process can. The newest
lease counts. Its owner checks that it is the newest before it puts anything in place (`Lease.check`).

A lease that was not released is taken over

- at once, if its owner was on this machine and has ended (it has no lock and no process here, or the machine was
  started again), or if the owner's heartbeat is gone, because it has left;
- otherwise once the owner's heartbeat was seen not to change for `heartbeat.STALE_SECONDS`.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterable
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from rlottery.storage.heartbeat import WATCH, Heartbeat, Owner, Sign, read_owner
from rlottery.storage.paths import LOCKS

BEATS = ".beats"
KEPT = 1
"""How many earlier leases keep their names: so a process that hasn't seen the newest yet can't create it again."""
_DIGITS = 9
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL)
"""The `errno` of an `OSError` where a file can't get a second name, or no further one."""


class Standing(Enum):
    """Whether a lease may be taken: `UNSURE` if that depends on what its owner's heartbeat does from now on."""

    FREE = auto()
    UNSURE = auto()
    HELD = auto()


class Newest(NamedTuple):
    """The newest lease of a lock file.

    Attributes:
        token: its number; 0 if there was never one.
        owner: None if it was released, or its owner is unknown.
        was_released: whether there is none, or its owner has released it.
        beat: when its owner's heartbeat was renewed last, in seconds since 1970 by another clock; 0 if unknown.
    """

    token: int
    standing: Standing
    owner: Owner | None = None
    was_released: bool = False
    beat: float = 0.0


class Lease:
    """A lease that this process has, or had.

    Args:
        path: the lock file that it stands next to.
        token: its number. A lease with number 0 is lost.
        owner: the id of its owner: this process, or the command that this worker belongs to.
        heartbeat: this process's, if it is the owner.
        was_released: whether the one before it was released, or there was none. If not, its owner may wake up.
    """

    def __init__(
        self, path: Path, token: int, owner: str, heartbeat: Heartbeat | None = None, *, was_released: bool = True
    ):
        self.path, self.token, self.was_released = path, token, was_released
        self._owner, self._heartbeat = owner, heartbeat

    @property
    def is_own(self) -> bool:
        """Whether this process took it, and hasn't released it."""
        return self._heartbeat is not None

    def has_successor(self) -> bool:
        """Whether it is seen to be lost. Quick: on a network file system, what is seen may be a minute old."""
        return os.path.lexists(_name(self.path, self.token + 1)) or not os.path.lexists(_name(self.path, self.token))

    def is_newest(self) -> bool:
        """Whether it is the newest, asked of the file system itself. Raises OSError if that can't be found out."""
        # A folder that this machine has just changed is read again, also on NFS.
        probe = self.path.with_name(f".{self.path.name}.{self._owner[:8]}")
        with contextlib.suppress(OSError):  # a full disk
            _touch(probe)
            probe.unlink(missing_ok=True)
        try:
            owner = read_owner(_name(self.path, self.token))
        except FileNotFoundError:
            return False
        return max(_tokens(self.path), default=0) == self.token and owner is not None and owner.id == self._owner

    def release(self) -> None:
        """Release it, if it was not lost."""
        name = _name(self.path, self.token)
        if self.token and os.path.lexists(name):
            try:
                _touch(_free(name))
            except OSError:  # a full disk
                with contextlib.suppress(OSError):
                    name.unlink()
        if self._heartbeat is not None:
            self._heartbeat.part()
            self._heartbeat = None


def take(path: Path) -> Lease | None:
    """Take the lease next to a lock file; None if another process has it, or may have it.

    The caller holds the lock. Raises OSError if the lease can't be written.
    """
    newest = look(path)
    if newest.standing is not Standing.FREE:
        return None
    token, heartbeat = newest.token + 1, Heartbeat.join(beats_of(path))
    try:
        if _create(_name(path, token), heartbeat):
            tokens = _tokens(path)
            if max(tokens, default=0) == token:
                _forget(path, [old for old in tokens if old < token - KEPT])
                return Lease(path, token, heartbeat.owner.id, heartbeat, was_released=newest.was_released)
            _name(path, token).unlink(missing_ok=True)  # only now are newer ones seen
    except BaseException:
        heartbeat.part()
        raise
    heartbeat.part()
    return None


def inherited(path: Path, parent: int) -> Lease:
    """The lease that the command `parent` took and this worker works under."""
    newest = look(path)
    owner = newest.owner
    if owner is None or not owner.is_on_this_boot or owner.pid != parent:
        return Lease(path, 0, "")
    return Lease(path, newest.token, owner.id)


def look(path: Path) -> Newest:
    """The newest lease next to a lock file. The caller holds the lock, or has seen that it is free."""
    tokens = _tokens(path)
    newest = max(tokens, default=0)
    if tokens.get(newest, True):
        return Newest(newest, Standing.FREE, was_released=True)
    name = _name(path, newest)
    try:
        owner, key, beat = read_owner(name), str(name), name.lstat().st_mtime_ns
    except FileNotFoundError:  # newer ones have replaced it at this moment
        return Newest(newest, Standing.HELD)
    if owner is not None:
        try:
            key, beat = owner.id, _beat(beats_of(path) / owner.id)
        except FileNotFoundError:  # it has left
            return Newest(newest, Standing.HELD if owner.lives_here else Standing.FREE, owner)
    return Newest(newest, _standing(owner, key, beat), owner, beat=beat / 1e9)


def beats_of(path: Path) -> Path:
    """Where the heartbeats of the owners of leases next to this lock file are."""
    return next(folder for folder in path.parents if folder.name == LOCKS) / BEATS


def _standing(owner: Owner | None, key: str, beat: int) -> Standing:
    if owner is not None and owner.is_on_this_boot:
        return Standing.HELD if owner.lives_here else Standing.FREE
    if owner is not None and owner.has_gone_with_its_boot:
        return Standing.FREE
    return {Sign.DEATH: Standing.FREE, Sign.LIFE: Standing.HELD}.get(WATCH.look(key, beat), Standing.UNSURE)


def _beat(path: Path) -> int:
    """The time of change of a heartbeat, asked of the file system itself: NFS looks again when a file is opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def _create(name: Path, heartbeat: Heartbeat) -> bool:
    """Create a lease with its content in one step. Returns False if there is one already."""
    try:
        try:
            os.link(heartbeat.path, name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without links, there is a moment without content. Whoever reads it then finds no owner, and watches.
            with name.open("xb") as file:
                file.write(heartbeat.path.read_bytes())
    except FileExistsError:
        # NFS may say so although it was this process: the first answer of the server was lost.
        with contextlib.suppress(OSError):
            owner = read_owner(name)
            return owner is not None and owner.id == heartbeat.owner.id
        return False
    return True


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))


def _tokens(path: Path) -> dict[int, bool]:
    """The numbers of the leases next to a lock file, and whether each was released."""
    try:
        names = os.listdir(path.parent)  # noqa: PTH208
    except FileNotFoundError:
        return {}
    ends = (name[len(path.name) :] for name in names if name.startswith(f"{path.name}."))
    found = [(int(matched[1]), bool(matched[2])) for end in ends if (matched := _SUFFIX.fullmatch(end))]
    released = {token for token, free in found if free}
    return {token: token in released for token, free in found if not free}


_SUFFIX = re.compile(rf"\.(\d{{{_DIGITS}}})(\.free)?")


def _forget(path: Path, tokens: Iterable[int]) -> None:
    """Remove the leases with these numbers."""
    for token in tokens:
        for old in (_name(path, token), _free(_name(path, token))):
            with contextlib.suppress(OSError):
                old.unlink(missing_ok=True)


def _name(path: Path, token: int) -> Path:
    return path.with_name(f"{path.name}.{token:0{_DIGITS}}")


def _free(name: Path) -> Path:
    return name.with_name(f"{name.name}.free")
