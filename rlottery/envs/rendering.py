"""Rendering environments: without a screen, at any size, from a camera that shows what the agent does."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rlottery import envs
from rlottery.config import Task
from rlottery.config.task_ids import task_parts
from rlottery.envs.contract import described, real_number
from rlottery.envs.environment import UnknownArgumentError
from rlottery.envs.families import family_of
from rlottery.envs.renderers import Renderer, try_renderers
from rlottery.errors import RlotteryError, TaskError, typed_text

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB."""

FRAMES_PER_SECOND = 30.0
"""For environments that don't say how long a step takes."""

SLOWEST, FASTEST = 1.0, 1000.0
"""Steps per second that a video can show. An environment that says otherwise counts as one that doesn't say."""

BACKGROUND = (24, 24, 28)
"""Fills the border if a picture has other proportions than requested."""

SECONDS = 20
"""Time limit for trying a renderer, so that a driver that hangs doesn't hold up a report for long."""

_FINER = 2
"""MuJoCo renders this many times more pixels in each direction than are shown."""


class RenderingError(RlotteryError):
    """The task can't be rendered, or not on this machine."""


class RendererError(RenderingError):
    """`render()` raised an error."""


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
        envs.make_closed(task.id, task.kwargs)
        try:
            self.environment = envs.make(task.id, {**task.kwargs, "render_mode": "rgb_array"})
        except UnknownArgumentError as error:
            raise RenderingError(
                f"{task.id} can't be rendered: {error.call} takes no argument {error.argument!r}. To render it, let it "
                'take render_mode=None, and let render() return pictures in the mode "rgb_array" (docs/play.md).'
            ) from None
        except TaskError as error:
            raise RenderingError(f"{task.id} can't be rendered: {error}") from None
        self._raw = self.environment.unwrapped
        self._renderer: Any = getattr(self._raw, "mujoco_renderer", None)
        self.needs_mujoco = self._renderer is not None
        if self.needs_mujoco:
            _set_up_camera(task.id, self._raw, size)
        self.steps_per_second = _steps_per_second(self._raw)

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
            raise RendererError(f"{self._task} can't be rendered here: {typed_text(error)}") from None
        if not _is_picture(rendered):
            raise RenderingError(
                f"{self._task} can't be rendered: in mode rgb_array, its render() must return a uint8 array of shape "
                f"(height, width, 3), but it returned {described(rendered)}."
            )
        image = Image.fromarray(np.ascontiguousarray(rendered))
        if self.needs_mujoco:
            image = image.reduce(_FINER)
        if image.size != self._size:
            image = ImageOps.pad(image, self._size, Image.Resampling.LANCZOS, BACKGROUND)
        return np.asarray(image)

    def close(self) -> None:
        """Close the environment and its renderer. What can't be closed is left: its pictures have been taken."""
        with contextlib.suppress(Exception):
            if self._renderer is not None and self._renderer.viewer is not None:
                # Free it now. Later it would be freed by its number, which another environment may have by then.
                self._renderer.viewer.make_context_current()
                self._renderer.viewer.con.free()
        with contextlib.suppress(Exception):
            self.environment.close()


def _is_picture(rendered: Any) -> bool:
    is_bytes = isinstance(rendered, np.ndarray) and rendered.dtype == np.uint8
    return is_bytes and rendered.ndim == 3 and rendered.shape[2] == 3 and min(rendered.shape) > 0


def _steps_per_second(raw: Any) -> float:
    """How fast the task runs in its own time: its ``render_fps``, or else its ``dt``, as far as they make sense."""
    metadata = getattr(raw, "metadata", None)
    rate = real_number(metadata.get("render_fps")) if isinstance(metadata, Mapping) else None
    step = None
    with contextlib.suppress(Exception):  # a property of the user's
        step = real_number(raw.dt)
    for found in (rate, 1 / step if step else None):
        if found is not None and SLOWEST <= found <= FASTEST:
            return found
    return FRAMES_PER_SECOND


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
    camera = family_of(task).camera(task_parts(task).environment)
    if camera is not None:
        renderer.camera_id, renderer.default_cam_config = -1, camera


@contextlib.contextmanager
def without_a_screen() -> Iterator[None]:
    """Let MuJoCo use a renderer that works here, or the one in MUJOCO_GL if that is set.

    Raises:
        RenderingError: no renderer works; the message says what is missing.
    """
    if given := os.environ.get("MUJOCO_GL"):
        try:
            yield
        except RendererError as error:
            advice = f"MUJOCO_GL={given} chooses this renderer: unset it, and one that works here is used."
            raise RenderingError(f"{str(error).rstrip('.')}. {advice}") from None
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
    return tuple(try_renderers(SECONDS))
