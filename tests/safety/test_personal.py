"""What tells who and where the author of a report is does not get into it, and what helps to find an error does."""

import getpass
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlottery.safety import personal
from rlottery.safety.personal import without_names


@pytest.fixture(autouse=True)
def jane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Jane Doe on node7, in a folder of her project."""
    monkeypatch.setenv("HOME", "/home/jane doe")
    monkeypatch.setattr(getpass, "getuser", lambda: "jdoe")
    monkeypatch.setattr(socket, "gethostname", lambda: "node7.cluster.example.org")
    monkeypatch.setattr(sys, "prefix", "/home/jane doe/project/.venv")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/scratch/jdoe tmp")
    monkeypatch.chdir(tmp_path)
    personal._words.cache_clear()
    yield
    personal._words.cache_clear()


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("run: '/home/jane doe/project/.venv/bin/python' -m x", "run: '<python>/bin/python' -m x"),
        ("/home/jane doe/.cache/rlottery can't be written", "~/.cache/rlottery can't be written"),
        ("/scratch/jdoe tmp/rlottery-1/ffi.o: error", "<temporary files>/rlottery-1/ffi.o: error"),
        ("/data/lab/secret/portable.cc:3:4: error: [x]", "<folder>/portable.cc:3:4: error: [x]"),
        ("'/data/Dr Who/the lab/x y' is missing", "'<folder>/x y' is missing"),
        ('"/data/Dr Who/lab" is missing', '"<folder>/lab" is missing'),
        ("(/data/lab/x)", "(<folder>/x)"),
        ("owner jdoe on node7, node7.cluster.example.org", "owner <user> on <host>, <host>"),
        ("nfs4: fs1.example.org:/export/jdoe on /home (rw,addr=10.1.2.3)", "nfs4: <host>:<folder>/<user> on /home"),
        ("cifs: //nas/share/lab on /mnt/lab (rw)", "cifs: <host>:<folder>/lab on <folder>/lab (rw)"),
        ("clientaddr=fe80::1,rw", "clientaddr=<address>,rw"),
    ],
)
def test_names_are_left_out(text: str, published: str) -> None:
    found = without_names(text)
    assert found.startswith(published)
    assert not any(name in found for name in ("jdoe", "node7", "secret", "10.1.2.3", "fs1", "nas", "Who", "fe80"))


@pytest.mark.parametrize(
    "text",
    [
        "/sys/fs/cgroup/cpu.max allows 0.5 cores",
        "/usr/include/c++/12/bits/stl_vector.h:3: error: no member",
        "see https://docs.example.org/a/b and http://x.org:80/y/z",
        "ratio 2/3, and/or, n/a, 0.10.2 of jaxlib, the /data folder",
        "ext4: /dev/vda on / (rw)",
        "c++ (Debian 12.2.0-14+deb12u1) 12.2.0",
        "pip install 'rlottery[film]', or in a checkout: uv sync --extra film",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert without_names(text) == text


def test_the_folder_of_somebody_with_a_longer_name_is_another() -> None:
    assert without_names("'/home/jane doe2/x'") == "'<folder>/x'"


def test_the_current_folder() -> None:
    assert without_names(f"{Path.cwd()}/data is full") == "<current folder>/data is full"


@pytest.mark.parametrize("home", ["/", "/root"])
def test_a_home_that_names_nobody(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    personal._words.cache_clear()
    assert without_names("the root folder / of 2/3, /usr/lib/x") == "the root folder / of 2/3, /usr/lib/x"


def test_a_user_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", fail)
    personal._words.cache_clear()
    assert without_names("on node7") == "on <host>"
