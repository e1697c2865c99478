"""What the doctor says of a data folder's file system."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlottery.cli import app
from rlottery.study import shared_folder
from rlottery.study.doctor import Severity
from rlottery.study.mounts import Mount, mount_of
from rlottery.study.shared_folder import between_machines, check_shared_folder

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
40 22 0:35 / /data rw,relatime shared:20 - nfs4 server:/export rw,vers=4.2,hard,local_lock=none
41 40 0:36 / /data/my\\040study rw - lustre 10.0.0.1@tcp:/scratch rw,flock
42 22 0:37 / /hidden rw - tmpfs tmpfs rw
43 22 0:38 / /hidden rw - gpfs gpfs0 rw
nonsense
"""


def test_what_holds_is_seen_and_nothing_is_left(tmp_path: Path) -> None:
    found = {one.about: one for one in check_shared_folder(tmp_path)}
    for about in ("locks (flock)", "names (link)", "names (mkdir)", "renames", "fsync", "free space"):
        assert found[about].severity is Severity.GOOD, found[about]
    assert not list(tmp_path.iterdir())


def test_a_file_system_whose_locks_and_renames_dont_hold_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "_LOCK", "print('locked', flush=True)\nimport sys; sys.stdin.read()")
    # Each process makes all names; the file has two contents at times.
    monkeypatch.setattr(shared_folder, "_MAKE_NAMES", "print('ready', flush=True); input(); print(*'1' * 100)")
    code = "import time\nfor n in range(200): open('whole', 'w').write('a' * n); time.sleep(0.005)"
    monkeypatch.setattr(shared_folder, "_RENAME", code)
    found = {one.about: one for one in check_shared_folder(tmp_path)}
    assert "two processes of this machine had the same lock" in found["locks (flock)"].text
    assert "several processes made the same one" in found["names (link)"].text
    assert "reads were not" in found["renames"].text
    for about in ("locks (flock)", "names (link)", "names (mkdir)", "renames"):
        assert found[about].severity is Severity.MISSING


def test_a_file_system_without_locks_or_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "_LOCK", "print('Function not implemented')")
    code = "print('ready', flush=True); input(); import os; one = os.getpid(); print(*['Operation_not_permitted', '0'])"
    monkeypatch.setattr(shared_folder, "_MAKE_NAMES", code)
    found = {one.about: one for one in check_shared_folder(tmp_path)}
    locks, links = found["locks (flock)"], found["names (link)"]
    assert locks.severity is Severity.MISSING and "can't be used: Function not implemented. Mount Lustre" in locks.text
    assert links.severity is Severity.NOTE and "Operation not permitted" in links.text
    assert found["names (mkdir)"].severity is Severity.MISSING  # nobody made it


def test_the_mount_of_a_folder_is_the_innermost_and_last_one(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    found = {name: mount_of(Path(name), table) for name in ("/x", "/data/y", "/data/my study/z", "/hidden", "/datax")}
    kinds = {name: mount.kind for name, mount in found.items() if mount is not None}
    assert kinds == {"/x": "ext4", "/data/y": "nfs4", "/data/my study/z": "lustre", "/hidden": "gpfs", "/datax": "ext4"}
    nfs = found["/data/y"]
    assert nfs is not None and (nfs.source, nfs.point) == ("server:/export", "/data")
    assert {"hard", "local_lock=none", "relatime"} <= nfs.options
    assert mount_of(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("kind", "options", "severity", "words"),
    [
        ("nfs4", "hard,local_lock=none", Severity.GOOD, "locks and leases hold between machines"),
        ("nfs", "nolock,local_lock=all", Severity.NOTE, "mount without nolock and local_lock"),
        ("nfs", "local_lock=posix", Severity.GOOD, "hold"),
        ("nfs4", "local_lock=flock", Severity.NOTE, "locks of its own"),
        ("nfs4", "actimeo=600", Severity.NOTE, "hidden for 600 seconds"),
        ("lustre", "flock", Severity.GOOD, "hold"),
        ("lustre", "localflock", Severity.NOTE, "mount with flock"),
        ("lustre", "rw", Severity.NOTE, "there are no locks"),
        ("gpfs", "rw", Severity.NOTE, "taken over after 120 seconds"),
        ("beegfs", "rw", Severity.NOTE, "tuneUseGlobalFileLocks=true"),
        ("ceph", "rw", Severity.GOOD, "hold"),
        ("ext4", "rw", Severity.HINT, "only this machine has this folder"),
        ("tmpfs", "rw", Severity.NOTE, "it is memory"),
        ("fuse.sshfs", "rw", Severity.NOTE, "not known for fuse.sshfs"),
        ("nfs4", "actimeo=x", Severity.GOOD, "hold"),
    ],
)
def test_what_a_mount_means_for_several_machines(kind: str, options: str, severity: Severity, words: str) -> None:
    found = between_machines(Mount(kind, "server:/x", "/data", frozenset(options.split(","))))
    assert found.severity is severity and words in found.text


def test_bad_input_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()

    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    cases = [(tmp_path / "none", "doesn't exist"), (file, "is not a folder")]
    for folder, words in cases:
        ended = CliRunner().invoke(app, ["doctor", "--data", str(folder)])
        assert ended.exit_code == 2 and words in ended.stderr.replace("\n", " ") and not ended.stdout
    monkeypatch.setattr(shared_folder.tempfile, "mkdtemp", refuse)
    ended = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path)])
    assert ended.exit_code == 2 and "Permission denied" in ended.stderr.replace(os.linesep, " ")


def test_a_folder_without_locks_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "_LOCK", "print('No locks available')")
    ended = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path)])
    assert ended.exit_code == 1 and "Studies can't run here until this is fixed: locks (flock)" in ended.stdout
