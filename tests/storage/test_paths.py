import re
from pathlib import Path

import numpy as np
import pytest

from rlottery.errors import StudyError
from rlottery.storage import paths as store
from rlottery.storage.disk import write_folder
from rlottery.storage.paths import RunFiles, Store
from rlottery.training.replay_buffer import ReplayBuffer


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_paths_are_the_well_known_ones(tmp_path: Path) -> None:
    found = Store(tmp_path)
    assert found.mask("drawer-close-v3", 3, "magnitude") == tmp_path / "masks" / "drawer-close-v3_seed_3.pkl"
    assert found.mask("drawer-close-v3", 3, "gradient") == tmp_path / "masks" / "drawer-close-v3_seed_3_gradient.pkl"
    assert found.run("A-v0", 1, "dense").manifest == tmp_path / "runs" / "A-v0" / "seed_1" / "dense" / "manifest.json"


def test_files_of_a_run_are_apart() -> None:
    files = RunFiles(Path("run"))
    paths = [files.manifest, files.metrics, files.initial, files.agent, files.mask, files.replay, files.progress]
    paths += [
        files.tensorboard,
        files.checkpoint,
        files.diverged,
        files.earlier_lock,
        files.log("dense"),
        files.log("ticket"),
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.parent == files.folder for path in paths)
    assert Store(Path("data")).run("A-v0", 1, "dense").lock == Path("data/.locks/A-v0/seed_1/dense.lock")
    assert Store(Path()).run("A-v0", 1, "dense").lock == Path(".locks/A-v0/seed_1/dense.lock")


def test_arms_are_the_folders_there_are_and_dense_first(tmp_path: Path) -> None:
    found = Store(tmp_path)
    assert found.arms("A-v0", 0) == ["dense"]
    for arm in ("taylor-95", "magnitude-80"):
        found.run("A-v0", 0, arm).folder.mkdir(parents=True)
    (tmp_path / "runs" / "A-v0" / "seed_0" / "note.txt").write_text("")
    assert found.arms("A-v0", 0) == ["dense", "magnitude-80", "taylor-95"]
    assert found.arms("A-v0", 1) == ["dense"]


def test_a_data_folder_that_cannot_be_written_is_refused_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match="can't be written: .*data=FOLDER"):
            Store(root).check_writable()
    Store(tmp_path / "new" / "data").check_writable()
    assert content(tmp_path) == {"file": b""}


@pytest.mark.parametrize(
    "place",
    [
        "runs",
        "runs/A-v0",
        "runs/A-v0/seed_0/dense/metrics.jsonl",
        "masks/x.pkl",
        "report",
        "report/x.png",
        ".cluster",
        ".cluster/jobs",
        ".cluster/sessions/A-v0",
    ],
)
def test_a_link_out_of_the_data_folder_is_refused(tmp_path: Path, place: str) -> None:
    root = tmp_path / "data"
    Store(root).check_links()
    (tmp_path / "elsewhere").mkdir()
    link = root / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match=re.escape(f"{link} is a symbolic link")):
        Store(root).check_links()


def test_an_engine_may_make_links_among_what_it_keeps_about_jobs(tmp_path: Path) -> None:
    jobs = tmp_path / ".cluster" / "jobs" / "20261129-120000"
    jobs.mkdir(parents=True)
    (jobs / ".submission_file.sh").symlink_to(jobs / "7_submission.sh")
    Store(tmp_path).check_links()


def test_the_data_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "runs").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "scratch")
    Store(tmp_path / "data").check_links()


def test_a_buffer_with_a_field_missing_is_not_saved(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    buffer = ReplayBuffer(2, 1, 1)
    buffer.add(np.zeros(1), np.zeros(1), 0.0, np.zeros(1), False)
    write_folder(files.replay, buffer.save)
    assert store.replay_is_saved(files, recorded=())
    assert not store.replay_is_saved(files, recorded=["replay/ends.npy"])  # as an on-policy algorithm records it
    (files.replay / "rewards.npy").unlink()
    assert not store.replay_is_saved(files, recorded=())
