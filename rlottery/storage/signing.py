"""This user's secret key, and signatures with it. They show that a file's content was written by this user's commands.

The key is 32 random bytes in ``$XDG_STATE_HOME/rlottery/key`` (default: ``~/.local/state``), which only the user may
read. The first study that is run makes it. Without a home that can be written there is no key, and nothing is signed.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlottery.safety.regular_files import regular
from rlottery.storage.syncing import sync_folder
from rlottery.storage.temporary_files import remove_leftovers, temporary_path

KEY_BYTES = 32


def signature(content: Mapping[str, Any]) -> str | None:
    """The HMAC-SHA256 of JSON content with the user's key, which is made if there is none; None if it can't be."""
    key = _read_key() or _make_key()
    return None if key is None else _signed(content, key)


def is_signed(content: Mapping[str, Any], given: str) -> bool:
    """Whether `given` is the signature of this content with the user's key."""
    key = _read_key()
    return key is not None and hmac.compare_digest(_signed(content, key).encode(), given.encode(errors="replace"))


def key_file() -> Path | None:
    """Where the key is, or would be; None if the user has no home."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # as the XDG specification has it
        state = Path(os.path.expanduser("~")) / ".local" / "state"
    return state / "rlottery" / "key" if state.is_absolute() else None


def _signed(content: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, json.dumps(content, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _read_key() -> bytes | None:
    """The key; None if there is none, or somebody else could have read it or made it."""
    path = key_file()
    if path is None:
        return None
    try:
        with open(path, "rb", opener=regular) as file:
            found = os.fstat(file.fileno())
            private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
            key = file.read(KEY_BYTES + 1) if private else b""
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None


def _make_key() -> bytes | None:
    """Make the key, unless another process makes one at this moment. None if it can't be made."""
    path = key_file()
    if path is None:
        return None
    partial = temporary_path(path)
    remove_leftovers([path.parent], time.time())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # whole, and only if there is none: an old key is never replaced
        sync_folder(path.parent)  # records that are signed with it survive a crash, too
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return _read_key()
