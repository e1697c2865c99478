"""The progress of a run in its file."""

from pathlib import Path

from rlottery.storage.progress import ProgressFile, read_progress


def test_phases_and_evaluations_are_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    file = ProgressFile(path, total_steps=300)

    def now() -> tuple[int, str | None, float | None]:
        read = read_progress(path)
        assert read is not None
        return read.env_steps, read.phase, read.last_return

    assert now() == (0, None, None)
    file.enter("evaluating")
    assert now() == (0, "evaluating", None)
    file.saw({"kind": "evaluation", "return": -7.5, "success": 0.5})
    file.enter(None)
    assert now() == (0, None, -7.5)
    file.tick(10)  # within a second of the last: not worth a file
    assert now() == (0, None, -7.5)
    file.enter("compiling")
    assert now() == (10, "compiling", -7.5)
    file.remove()
    assert read_progress(path) is None


def test_the_file_of_an_earlier_version_names_no_phase(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    ProgressFile(path, 300).enter(None)
    path.write_text(path.read_text().replace(', "phase": null', ""))
    read = read_progress(path)
    assert "phase" not in path.read_text() and read is not None and read.phase is None
