"""Which way to draw is taken, by what children of this process say of each."""

import os
import sys
from collections.abc import Iterator, Mapping

import pytest

from rlottery.envs import rendering
from rlottery.envs.renderers import Renderer, ask_a_child, try_renderers
from rlottery.envs.rendering import RendererError, RenderingError, without_a_screen

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS draws in one way alone")


class Machine:
    """Answers as the children of a machine would: by MUJOCO_GL, the brightest byte or a fault."""

    def __init__(self, **answers: tuple[str, str]):
        self.answers, self.asked = answers, list[str]()

    def __call__(self, code: str, environment: Mapping[str, str], seconds: float = 0) -> tuple[str, str]:
        compile(code, "child", "exec")
        self.asked.append(environment["MUJOCO_GL"])
        return self.answers[environment["MUJOCO_GL"]]


def test_the_first_that_draws_ends_the_search() -> None:
    machine = Machine(egl=("255", ""))
    assert try_renderers(machine, {}) == [Renderer("egl")] and machine.asked == ["egl"]


def test_a_black_picture_is_none() -> None:
    machine = Machine(egl=("0", ""), osmesa=("", "no libOSMesa"))
    assert try_renderers(machine, {}) == [Renderer("egl", "the picture is black"), Renderer("osmesa", "no libOSMesa")]


def test_a_driver_that_hangs_is_given_up() -> None:
    assert ask_a_child("import time; time.sleep(60)", {}, 0.2) == ("", "no answer within 0.2 seconds")


def test_what_is_said_is_the_error_and_not_that_of_a_destructor() -> None:
    code = (
        "class Half:\n    def __del__(self): self.context.free()\nhalf = Half()\nraise RuntimeError('99 is no device')"
    )
    assert ask_a_child(code, {}, 60) == ("", "RuntimeError: 99 is no device")


class TestOfThisProcess:
    @pytest.fixture(autouse=True)
    def nothing_is_known(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.delenv("MUJOCO_GL", raising=False)
        rendering._tried.cache_clear()
        yield
        rendering._tried.cache_clear()

    def test_failure_is_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(egl=("", "no libEGL"), osmesa=("", "ended by SIGSEGV"))
        monkeypatch.setattr(rendering, "ask_a_child", machine)
        for _ in range(3):
            with pytest.raises(RenderingError, match="can't render on this machine") as error, without_a_screen():
                pass
            assert "MUJOCO_GL=egl: no libEGL; MUJOCO_GL=osmesa: ended by SIGSEGV." in str(error.value)
        assert machine.asked == ["egl", "osmesa"]

    def test_what_works_is_set_while_it_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(egl=("", "no libEGL"), osmesa=("200", ""))
        monkeypatch.setattr(rendering, "ask_a_child", machine)
        for _ in range(2):
            with without_a_screen():
                assert os.environ["MUJOCO_GL"] == "osmesa"
            assert "MUJOCO_GL" not in os.environ
        assert machine.asked == ["egl", "osmesa"]

    def test_what_is_set_by_hand_is_taken_at_its_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine()
        monkeypatch.setattr(rendering, "ask_a_child", machine)
        monkeypatch.setenv("MUJOCO_GL", "egl")
        with without_a_screen():
            assert os.environ["MUJOCO_GL"] == "egl"
        assert machine.asked == []
        said = "no device. MUJOCO_GL=egl chooses this renderer: unset it"
        with pytest.raises(RenderingError, match=said), without_a_screen():
            raise RendererError("a task can't be rendered here: no device.")
