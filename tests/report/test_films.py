"""Videos of a report's tasks, and the lines for missing ones. Nothing is drawn."""

from pathlib import Path
from typing import Any

import pytest

from rlottery.config import Config, Task
from rlottery.export.play import NoFilm
from rlottery.report.films import films_of
from rlottery.storage.paths import Store
from tests.report.contents import SEEDS, TASKS, contents

NOWHERE = NoFilm("MuJoCo can't render on this machine. MUJOCO_GL=egl: no libEGL.")


def films(monkeypatch: pytest.MonkeyPatch, **found: Any) -> tuple[Any, Any]:
    """The result if a video is as `found` says for the first word of its task, else NOWHERE."""

    def film(store: Store, task: Task, arm: str, seed: int, *, trust: bool) -> Any:
        return found.get(task.id.split("-")[0], NOWHERE)

    monkeypatch.setattr("rlottery.export.play.film_for_report", film)
    config = Config.model_validate({"tasks": list(TASKS), "seeds": SEEDS})
    return films_of(Store(Path("data")), config, contents())


def test_one_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, why_not = films(monkeypatch)
    assert (shown, why_not) == ({}, ("Videos: MuJoCo can't render on this machine. MUJOCO_GL=egl: no libEGL.",))


def test_some_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    film = ("video/mp4", b"film")
    shown, why_not = films(monkeypatch, drawer=film, Reacher=NoFilm("Reacher-v5 can't be rendered."))
    assert shown == {"drawer-close-v3": film}
    assert why_not == (f"Videos: {NOWHERE.why}", "Videos: Reacher-v5 can't be rendered.")


def test_all_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    film = ("video/mp4", b"film")
    shown, why_not = films(monkeypatch, InvertedDoublePendulum=film, drawer=film, Reacher=film)
    assert (set(shown), why_not) == (set(TASKS), ())
