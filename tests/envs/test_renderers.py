"""Which way to draw is taken, by what children of this process say of each."""

import os
import sys
from collections.abc import Iterator, Mapping

import pytest

from rlottery.envs import renderers, rendering
from rlottery.envs.renderers import Renderer, try_renderers
from rlottery.envs.rendering import RendererError, RenderingError, without_a_screen
from rlottery.processes.children import ChildError

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS draws in one way alone")


class Machine:
    """Answers as the children of a machine would: by MUJOCO_GL, the brightest byte or a fault."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: int | str):
        self.answers, self.asked = answers, list[str]()
        monkeypatch.setattr(renderers, "call_in_child", self)

    def __call__(self, function: str, *, seconds: float, environment: Mapping[str, str]) -> int:
        assert function == "rlottery.envs.renderers:brightest_byte"
        self.asked.append(environment["MUJOCO_GL"])
        answer = self.answers[environment["MUJOCO_GL"]]
        if isinstance(answer, str):
            raise ChildError(answer)
        return answer


def test_the_first_that_draws_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, egl=255)
    assert try_renderers(9) == [Renderer("egl")] and machine.asked == ["egl"]


def test_a_black_picture_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, egl=0, osmesa="no\nlibOSMesa")
    assert try_renderers(9) == [Renderer("egl", "the picture is black"), Renderer("osmesa", "no libOSMesa")]


class TestOfThisProcess:
    @pytest.fixture(autouse=True)
    def nothing_is_known(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.delenv("MUJOCO_GL", raising=False)
        rendering._tried.cache_clear()
        yield
        rendering._tried.cache_clear()

    def test_failure_is_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(monkeypatch, egl="no libEGL", osmesa="its process was killed by SIGSEGV")
        for _ in range(3):
            with pytest.raises(RenderingError, match="can't render on this machine") as error, without_a_screen():
                pass
            assert "MUJOCO_GL=egl: no libEGL; MUJOCO_GL=osmesa: its process was killed by SIGSEGV." in str(error.value)
        assert machine.asked == ["egl", "osmesa"]

    def test_what_works_is_set_while_it_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(monkeypatch, egl="no libEGL", osmesa=200)
        for _ in range(2):
            with without_a_screen():
                assert os.environ["MUJOCO_GL"] == "osmesa"
            assert "MUJOCO_GL" not in os.environ
        assert machine.asked == ["egl", "osmesa"]

    def test_what_is_set_by_hand_is_taken_at_its_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(monkeypatch)
        monkeypatch.setenv("MUJOCO_GL", "egl")
        with without_a_screen():
            assert os.environ["MUJOCO_GL"] == "egl"
        assert machine.asked == []
        said = "no device. MUJOCO_GL=egl chooses this renderer: unset it"
        with pytest.raises(RenderingError, match=said), without_a_screen():
            raise RendererError("a task can't be rendered here: no device.")
