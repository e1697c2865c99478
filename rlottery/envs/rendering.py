"""Environments that are looked at: without a screen, at any size, from a side that shows what is done."""

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
from rlottery.envs.renderers import Renderer, ask_a_child, try_renderers
from rlottery.errors import RlotteryError, TaskError

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB."""

FRAMES_PER_SECOND = 30.0
"""Of environments that don't say how long a step takes."""

BACKGROUND = (24, 24, 28)
"""Around a picture of other proportions than were asked for."""

SECONDS = 20
"""Longest that a way to draw may take to prove itself: a driver that hangs is not to hold up a report for long."""

_FINER = 2
"""MuJoCo draws as many times more pixels to either side as are shown."""

_METAWORLD_CAMERA = {"azimuth": 160.0, "elevation": -25.0, "distance": 1.4, "lookat": np.array([0.0, 0.6, 0.15])}
"""Over the table from the right, with the arm on the left and what it handles in the middle. Of Meta-World's own
cameras those in the corners stand on their heads, and the others are too close or look from above."""

_CAMERAS = {
    "InvertedDoublePendulum-v5": {
        "azimuth": 90.0,
        "elevation": -30.0,
        "distance": 3.2,
        "lookat": np.array([0.0, 0.0, 0.4]),
    }
}
"""For tasks that have none, and would be drawn from far away."""


class RenderingError(RlotteryError):
    """A task that can't be drawn, or not on this machine."""


class Stage:
    """An environment that draws itself.

    Args:
        task: without a screen if MuJoCo draws it, once `without_a_screen` has been entered.
        size: width and height of its pictures.

    Attributes:
        environment: as it is evaluated.
        steps_per_second: of the task's own time.

    Raises:
        TaskError: the task can't be made.
        RenderingError: it can't be made to draw.
    """

    def __init__(self, task: Task, size: tuple[int, int]):
        self._task, self._size = task.id, size
        envs.make(task.id, task.kwargs).close()
        try:
            self.environment = envs.make(task.id, {**task.kwargs, "render_mode": "rgb_array"})
        except TaskError as error:
            raise RenderingError(f"{task.id} can't be drawn, for it takes no render_mode: {error}") from None
        self._raw = self.environment.unwrapped
        self._renderer: Any = getattr(self._raw, "mujoco_renderer", None)
        if self._renderer is not None:
            _set_up_camera(task.id, self._raw, size)
        told = self._raw.metadata.get("render_fps") or 1 / getattr(self._raw, "dt", 1 / FRAMES_PER_SECOND)
        self.steps_per_second = float(told)

    @property
    def needs_mujoco(self) -> bool:
        """Whether MuJoCo draws it."""
        return self._renderer is not None

    def picture(self) -> Picture:
        """What can be seen now: (height, width, 3).

        Raises:
            RenderingError: nothing that is a picture; the message says what is missing.
        """
        if self._renderer is not None and self._renderer.viewer is not None:
            self._renderer.viewer.make_context_current()  # with two environments, it may be the other's
        try:
            drawn = self._raw.render()
        except Exception as error:  # whatever a library of drawing raises
            raise RenderingError(f"{self._task} can't be drawn here: {error}") from None
        picture = np.asarray(drawn)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise RenderingError(f"{self._task} draws nothing: its render() gives no picture in the mode rgb_array.")
        if self._renderer is not None:
            return np.asarray(Image.fromarray(picture).reduce(_FINER))
        return np.asarray(ImageOps.pad(Image.fromarray(picture), self._size, Image.Resampling.LANCZOS, BACKGROUND))

    def close(self) -> None:
        """Close the environment and what it drew with."""
        if self._renderer is not None and self._renderer.viewer is not None:
            # Freed here, for later it would be freed by number, and take what another environment has by that number.
            self._renderer.viewer.make_context_current()
            self._renderer.viewer.con.free()
        self.environment.close()


def _set_up_camera(task: str, raw: Any, size: tuple[int, int]) -> None:
    """Choose size and camera of an environment that MuJoCo draws; before its first picture.

    Where there is no GPU, shadows, reflections and smoothing are most of the work: at twice the size and without them a
    picture looks as well and takes a fifth of the time.
    """
    renderer, model = raw.mujoco_renderer, raw.model
    renderer.width, renderer.height = (_FINER * side for side in size)
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, renderer.width)
    model.vis.global_.offheight = max(model.vis.global_.offheight, renderer.height)
    model.vis.quality.shadowsize, model.vis.quality.offsamples = 0, 0
    model.mat_reflectance[:] = 0
    camera = _METAWORLD_CAMERA if envs.is_metaworld(task) else _CAMERAS.get(task)
    if camera is not None:
        renderer.camera_id, renderer.default_cam_config = -1, camera


@contextmanager
def without_a_screen() -> Iterator[None]:
    """Let MuJoCo draw by what was found to work here; MUJOCO_GL says it otherwise, where it is set.

    Raises:
        RenderingError: nothing works; the message says what is missing.
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
    """A value of MUJOCO_GL that was seen to draw."""
    tried = _tried()
    if not tried[-1].fault:
        return tried[-1].name
    told = "; ".join(f"MUJOCO_GL={renderer.name}: {renderer.fault}" for renderer in tried)
    raise RenderingError(
        f"MuJoCo can't draw on this machine. {told}. `rlottery doctor` says what to install; training needs none of it."
    )


@cache
def _tried() -> tuple[Renderer, ...]:
    """What was tried, once in a process, whether something draws or not: children take seconds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # they import from where this one does
    return tuple(try_renderers(partial(ask_a_child, seconds=SECONDS), environment))
