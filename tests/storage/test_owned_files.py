"""Files of a command in a folder of the user's: what is listed, replaced and removed, and what never is."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rlottery.errors import StudyError
from rlottery.storage import owned_files
from rlottery.storage.manifests import write_sealed
from rlottery.storage.owned_files import OwnedFiles

LISTING = "report_files.json"
FIRST = {"report.html": b"1 <made>", "figures/a.png": b"a1", "tables/b.csv": b"b1"}
SECOND = {"report.html": b"2 <made>", "figures/a.png": b"a2", "figures/c.png": b"c2"}


@pytest.fixture
def owned(tmp_path: Path) -> OwnedFiles:
    return OwnedFiles(tmp_path, LISTING, ("report.html",), ("figures", "tables"), {"report.html": "<made>"})


def found(owned: OwnedFiles) -> dict[str, bytes]:
    """All files but the listing and its lock."""
    paths = [path for path in owned.folder.rglob("*") if path.is_file() and LISTING not in path.name]
    return {str(path.relative_to(owned.folder)): path.read_bytes() for path in paths}


def put(owned: OwnedFiles, name: str, data: bytes = b"mine") -> Path:
    path = owned.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_what_is_no_longer_written_is_removed(owned: OwnedFiles) -> None:
    for _ in range(2):
        assert owned.update(FIRST) == []
    assert found(owned) == FIRST
    assert owned.update(SECOND) == []
    assert found(owned) == SECOND and owned.names() == SECOND.keys()
    assert owned.update({}, gone=("figures/a.png",)) == []
    assert owned.names() == SECOND.keys() - {"figures/a.png"}


def test_what_the_user_put_there_stays(owned: OwnedFiles) -> None:
    owned.update(FIRST)
    put(owned, "figures/mine.png")
    put(owned, "figures/c.png")
    assert owned.foreign() is None
    assert owned.update(SECOND) == [
        f"{owned.folder / 'figures/c.png'} is not written: there is a file that no report wrote. Move it away."
    ]
    assert found(owned) == SECOND | {"figures/mine.png": b"mine", "figures/c.png": b"mine"}
    owned.update({})
    assert found(owned) == {"figures/mine.png": b"mine", "figures/c.png": b"mine"}


def test_what_the_user_changed_stays(owned: OwnedFiles) -> None:
    owned.update(FIRST)
    put(owned, "tables/b.csv")
    for number in ("", "-2"):
        path = put(owned, "figures/a.png")
        lines = owned.update(SECOND)
        assert f"{path} was changed since a report wrote it. The changed file is now {path}.changed{number}." in lines
    assert found(owned) == SECOND | dict.fromkeys(
        ("tables/b.csv", "figures/a.png.changed", "figures/a.png.changed-2"), b"mine"
    )
    put(owned, "figures/a.png", b"a3")
    assert owned.update({**SECOND, "figures/a.png": b"a3"}) == []  # changed to what is written now


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_file_is_somebody_else_s(
    owned: OwnedFiles, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    owned.update(FIRST)
    path, target = owned.folder / "tables/b.csv", tmp_path_factory.mktemp("other") / "target"
    target.write_bytes(path.read_bytes())
    path.unlink()
    {"link": lambda: path.symlink_to(target), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    assert owned.update(SECOND) == [f"{path} stays: it was changed since a report wrote it."]
    assert os.path.lexists(path) and target.read_bytes() == b"b1"


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("report.html", True),
        ("figures/own.png", True),
        ("tables", True),
        ("notes.txt", False),
        ("source/report.html", False),
    ],
)
def test_a_folder_that_no_command_wrote(owned: OwnedFiles, name: str, foreign: bool) -> None:
    path = put(owned, name)
    assert owned.foreign() == (path if foreign else None)


def test_a_folder_of_an_earlier_version(owned: OwnedFiles) -> None:
    for name, data in {**FIRST, "figures/own.png": b"mine"}.items():
        put(owned, name, data)
    assert owned.foreign() is None
    assert owned.update(SECOND) == []
    assert found(owned) == {**SECOND, "tables/b.csv": b"b1", "figures/own.png": b"mine"}


def test_files_of_an_earlier_version_that_are_replaced_one_after_the_other(owned: OwnedFiles) -> None:
    owned = replace(owned, listing="film_files.json", earlier=re.compile(r"film_\d\.mp4"))
    for name in ("report.html", "film_1.mp4", "film_2.mp4", "film.mp4"):
        put(owned, name, b"<made>")
    assert owned.update({"film_1.mp4": b"1"}, ()) == owned.update({"film_2.mp4": b"2"}, ()) == []
    assert owned.read("film_1.mp4", 9) == b"1" and owned.read("film_2.mp4", 9) == b"2"
    (owned.folder / "film_2.mp4").write_bytes(b"edited")
    assert "is now" in owned.update({"film_2.mp4": b"3"}, ())[0]
    assert "is not written" in owned.update({"film.mp4": b"4"}, ())[0]


@pytest.mark.parametrize("name", ["../other.txt", "/etc/passwd", "figures/../../other.txt", "a/b.txt", ".hidden"])
def test_a_listing_names_no_file_elsewhere(owned: OwnedFiles, name: str) -> None:
    owned.update(FIRST)
    listing = json.loads((owned.folder / LISTING).read_text())
    listing["files"][name] = listing["files"]["tables/b.csv"]
    del listing["checksum"]
    write_sealed(owned.folder / LISTING, listing)
    assert owned.names() == FIRST.keys()


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 2, "files": {}}', '{"format_version": 1, "files": 3}'])
def test_a_damaged_listing_lists_nothing(owned: OwnedFiles, text: str) -> None:
    owned.update(FIRST)
    (owned.folder / LISTING).write_text(text)
    assert owned.read("report.html", 100) is None and owned.names() == frozenset()
    assert owned.update(SECOND) == []  # it is known as a report by its page
    assert found(owned) == {**SECOND, "tables/b.csv": b"b1"}


def test_a_listing_of_a_later_version(owned: OwnedFiles) -> None:
    write_sealed(owned.folder / LISTING, {"format_version": 4, "files": {}})
    with pytest.raises(StudyError, match="has format 4"):
        owned.foreign()


def test_files_that_somebody_else_listed_are_not_read(owned: OwnedFiles) -> None:
    own = replace(owned, signed=True)
    owned.update({"a.mp4": b"planted", "b.mp4": b"planted"})  # not signed
    assert own.read("a.mp4", 100) is None and owned.read("a.mp4", 100) == b"planted"
    own.update({"b.mp4": b"own"}, ())
    assert own.read("b.mp4", 100) == b"own" and own.read("a.mp4", 100) is None
    assert own.update({}) == [] and found(owned) == {}
    own.update({"b.mp4": b"own"})
    listing = json.loads((owned.folder / LISTING).read_text())
    put(owned, "c.mp4", b"planted")
    planted = {"sha256": hashlib.sha256(b"planted").hexdigest(), "bytes": 7}
    listing["files"]["c.mp4"] = [{**listing["files"]["b.mp4"][0], **planted}]
    del listing["checksum"]
    write_sealed(owned.folder / LISTING, listing)
    assert own.read("b.mp4", 100) is own.read("c.mp4", 100) is None


class CrashError(Exception):
    """Raised where a process would have been killed."""


def test_a_crash_at_any_write_loses_and_forgets_nothing(owned: OwnedFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write and every removal fails in turn; the next report replaces both reports' files, and nothing else."""
    real = {"write_bytes": owned_files.write_bytes, "write_sealed": owned_files.write_sealed, "unlink": Path.unlink}
    left = [0]

    def counted(name: str):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                raise CrashError
            return real[name](*arguments, **options)

        return call

    monkeypatch.setattr(owned_files, "write_bytes", counted("write_bytes"))
    monkeypatch.setattr(owned_files, "write_sealed", counted("write_sealed"))
    monkeypatch.setattr(Path, "unlink", counted("unlink"))
    crashes = 0
    for at in range(1, 20):
        left[0] = 0
        assert owned.update(FIRST) == [] and found(owned) == FIRST
        put(owned, "tables/mine.csv")
        left[0] = at
        try:
            owned.update(SECOND)
            break
        except CrashError:
            crashes += 1
        left[0] = 0
        assert not (found(owned).keys() - {"tables/mine.csv"}) - owned.names(), f"not listed after a crash at {at}"
        assert owned.update({"report.html": b"3 <made>"}) == []
        assert found(owned) == {"report.html": b"3 <made>", "tables/mine.csv": b"mine"}
        real["unlink"](owned.folder / "tables/mine.csv")
    assert crashes >= 6  # the listing, three files, a removal, the listing
