"""Rendering environments: without a screen, at any size, from a camera that shows what the agent does."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rlottery import envs
from rlottery.config import Task
from rlottery.envs.families import family_of
from rlottery.envs.renderers import Renderer, ask_a_child, try_renderers
from rlottery.errors import RlotteryError, TaskError

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB."""

FRAMES_PER_SECOND = 30.0
"""For environments that don't say how long a step takes."""

BACKGROUND = (24, 24, 28)
"""Fills the border if a picture has other proportions than requested."""

SECONDS = 20
"""Time limit for trying a renderer, so that a driver that hangs doesn't hold up a report for long."""

_FINER = 2
"""MuJoCo renders this many times more pixels in each direction than are shown."""


class RenderingError(RlotteryError):
    """The task can't be rendered, or not on this machine."""


class Stage:
    """An environment that can be rendered.

    Args:
        task: if MuJoCo renders it, enter `without_a_screen` first on a machine without a screen.
        size: width and height of its pictures.

    Attributes:
        environment: the environment, as for an evaluation.
        steps_per_second: in the task's own time.
        needs_mujoco: whether MuJoCo renders it.

    Raises:
        TaskError: the task can't be made.
        RenderingError: the task can't be made with rendering.
    """

    def __init__(self, task: Task, size: tuple[int, int]):
        self._task, self._size = task.id, size
        envs.make(task.id, task.kwargs).close()
        try:
            self.environment = envs.make(task.id, {**task.kwargs, "render_mode": "rgb_array"})
        except TaskError as error:
            raise RenderingError(f"{task.id} can't be rendered, because it takes no render_mode: {error}") from None
        self._raw = self.environment.unwrapped
        self._renderer: Any = getattr(self._raw, "mujoco_renderer", None)
        self.needs_mujoco = self._renderer is not None
        if self.needs_mujoco:
            _set_up_camera(task.id, self._raw, size)
        rate = self._raw.metadata.get("render_fps") or 1 / getattr(self._raw, "dt", 1 / FRAMES_PER_SECOND)
        self.steps_per_second = float(rate)

    def picture(self) -> Picture:
        """The current picture: (height, width, 3).

        Raises:
            RenderingError: the environment returns no picture; the message says what is missing.
        """
        if self._renderer is not None and self._renderer.viewer is not None:
            self._renderer.viewer.make_context_current()  # with two environments, the other's may be current
        try:
            rendered = self._raw.render()
        except Exception as error:  # a rendering library may raise anything
            raise RenderingError(f"{self._task} can't be rendered here: {error}") from None
        picture = np.asarray(rendered)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise RenderingError(f"{self._task} can't be rendered: its render() returns no picture in mode rgb_array.")
        if self.needs_mujoco:
            return np.asarray(Image.fromarray(picture).reduce(_FINER))
        return np.asarray(ImageOps.pad(Image.fromarray(picture), self._size, Image.Resampling.LANCZOS, BACKGROUND))

    def close(self) -> None:
        """Close the environment and its renderer."""
        if self._renderer is not None and self._renderer.viewer is not None:
            # Free it now. Later it would be freed by its number, which another environment may have by then.
            self._renderer.viewer.make_context_current()
            self._renderer.viewer.con.free()
        self.environment.close()


def _set_up_camera(task: str, raw: Any, size: tuple[int, int]) -> None:
    """Set size and camera of an environment that MuJoCo renders, before its first picture.

    Without a GPU, shadows, reflections and smoothing are most of the work. At twice the size and without them, a
    picture looks as good and takes a fifth of the time.
    """
    renderer, model = raw.mujoco_renderer, raw.model
    renderer.width, renderer.height = (_FINER * side for side in size)
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, renderer.width)
    model.vis.global_.offheight = max(model.vis.global_.offheight, renderer.height)
    model.vis.quality.shadowsize, model.vis.quality.offsamples = 0, 0
    model.mat_reflectance[:] = 0
    camera = family_of(task).camera(task)
    if camera is not None:
        renderer.camera_id, renderer.default_cam_config = -1, camera


@contextmanager
def without_a_screen() -> Iterator[None]:
    """Let MuJoCo use a renderer that works here, or the one in MUJOCO_GL if that is set.

    Raises:
        RenderingError: no renderer works; the message says what is missing.
    """
    if os.environ.get("MUJOCO_GL"):
        yield
        return
    os.environ["MUJOCO_GL"] = _working_renderer()
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]


def _working_renderer() -> str:
    """A value of MUJOCO_GL that works here."""
    tried = _tried()
    if not tried[-1].fault:
        return tried[-1].name
    faults = "; ".join(f"MUJOCO_GL={renderer.name}: {renderer.fault}" for renderer in tried)
    raise RenderingError(
        f"MuJoCo can't render on this machine. {faults}. `rlottery doctor` says what to install. Training doesn't need "
        "this."
    )


@cache
def _tried() -> tuple[Renderer, ...]:
    """The renderers that were tried, once per process because it takes seconds, whether one works or not."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # children import from the same places
    return tuple(try_renderers(partial(ask_a_child, seconds=SECONDS), environment))
