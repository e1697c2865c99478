"""Videos of a report's tasks, and the lines for missing ones. Nothing is drawn."""

from pathlib import Path
from typing import Any

import pytest

from rlottery.config import Config
from rlottery.envs.rendering import RenderingError
from rlottery.export.play import ReportFilm
from rlottery.report.films import films_of
from rlottery.storage.paths import Store
from tests.report.contents import SEEDS, TASKS, contents

NOWHERE = "MuJoCo can't render on this machine. MUJOCO_GL=egl: no libEGL."


def films(monkeypatch: pytest.MonkeyPatch, **found: Any) -> tuple[Any, Any]:
    """The result if making a video does as `found` says for the first word of its task, else fails with NOWHERE."""

    def made(film: ReportFilm, *, trust: bool) -> tuple[bytes, list[str]]:
        outcome = found.get(film.task.id.split("-")[0], RenderingError(NOWHERE))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(ReportFilm, "kept", lambda film: None)
    monkeypatch.setattr(ReportFilm, "make", made)
    config = Config.model_validate({"tasks": list(TASKS), "seeds": SEEDS})
    return films_of(Store(Path("data")), config, contents())


def test_one_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert films(monkeypatch) == ({}, (f"Videos: {NOWHERE}",))


def test_some_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    film, full = (b"film", ["film.mp4 was changed."]), OSError(28, "No space left on device")
    shown, lines = films(monkeypatch, drawer=film, Reacher=full)
    assert shown == {"drawer-close-v3": ("video/mp4", b"film")}
    full_line = f"Videos: No video of Reacher-v5 could be made: {full}"
    assert set(lines) == {f"Videos: {NOWHERE}", "Videos: film.mp4 was changed.", full_line}


def test_the_page_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = RenderingError(f"{Path('data').absolute()}/runs/agent.safetensors is damaged: it is missing.")
    _, lines = films(monkeypatch, InvertedDoublePendulum=missing, drawer=missing, Reacher=missing)
    assert "Videos: runs/agent.safetensors is damaged: it is missing." in lines


def test_one_that_was_made_before_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    film = (b"film", [])
    shown, lines = films(monkeypatch, InvertedDoublePendulum=film, drawer=film, Reacher=film)
    assert (set(shown), lines) == (set(TASKS), ())
    monkeypatch.setattr(ReportFilm, "make", None)
    monkeypatch.setattr(ReportFilm, "kept", lambda film: b"kept")
    config = Config.model_validate({"tasks": list(TASKS), "seeds": SEEDS})
    assert films_of(Store(Path("data")), config, contents()) == (dict.fromkeys(TASKS, ("video/mp4", b"kept")), ())
