"""Text to publish, such as a report of an error: without the names of the user, of machines and of private folders."""

import contextlib
import getpass
import os
import re
import socket
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_SYSTEM = ("bin", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr")
"""Folders of the root whose content is much the same on every machine."""
_SHORTEST = 3
"""Letters of the shortest name that is replaced outside paths. A shorter one could be any word."""
_REMOTE = re.compile(r"(?<![\w./-])(?:[\w-]+(?:\.[\w-]+)*:(?=/(?!/))|(?<!:)//[\w-]+(?:\.[\w-]+)*)")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?!\.?\d)|(?<=addr=)[^,)\s]+")
_PATH = re.compile(r"(?<=')/(?!/)[^']+(?=')|(?<=\")/(?!/)[^\"]+(?=\")|(?<![\w.~/>+-])/(?!/)[^\s:,;'\"()<>]+")


def without_names(text: str) -> str:
    """Text in which placeholders stand for what tells who and where its author is.

    These are the home folder (``~``), the folders of Python, rlottery and temporary files, the current folder, the name
    of the user, the name of this host, hosts of mounted folders, and IP addresses. Of any other path outside the
    system's own folders, only the last part is left.
    """
    for folder, name in _folders().items():
        text = re.sub(rf"{re.escape(folder)}(?![\w.-])", name, text)
    text = _REMOTE.sub("<host>:", text)
    text = _ADDRESS.sub("<address>", text)
    text = _PATH.sub(lambda found: _last_part(found.group()), text)
    for word, name in _words().items():
        text = re.sub(rf"(?<![\w]){re.escape(word)}(?![\w])", name, text)
    return text


def _last_part(path: str) -> str:
    """The end of a path, unless it is one of the system's, or the name of a folder of the root."""
    root, *_, last = path.removeprefix("/").split("/") if "/" in path[1:] else ("", path)
    return path if root in _SYSTEM or not root else f"<folder>/{last}"


def _folders() -> Mapping[str, str]:
    """Folders of this process -> placeholders, the longest first, so that a folder is found before its parents."""
    named = {
        os.path.expanduser("~"): "~",
        str(Path.cwd()): "<current folder>",
        tempfile.gettempdir(): "<temporary files>",
        sys.base_prefix: "<base python>",
        sys.prefix: "<python>",
        str(Path(__file__).parents[2]): "<rlottery>",
    }
    named |= {os.path.realpath(folder): name for folder, name in named.items()}
    kept = {folder: name for folder, name in named.items() if folder != "/" and folder.split("/")[1] not in _SYSTEM}
    return dict(sorted(kept.items(), key=lambda item: -len(item[0])))


@cache
def _words() -> Mapping[str, str]:
    """Names of the user and of this host -> placeholders, the longest first."""
    users = {Path(os.path.expanduser("~")).name}
    with contextlib.suppress(OSError, KeyError):  # the user has no entry among the system's users
        users.add(getpass.getuser())
    host = socket.gethostname()
    words = dict.fromkeys(users - {"root"}, "<user>") | dict.fromkeys({host, host.split(".")[0]}, "<host>")
    usual = {word: name for word, name in words.items() if len(word) >= _SHORTEST and word != "localhost"}
    return dict(sorted(usual.items(), key=lambda item: -len(item[0])))
