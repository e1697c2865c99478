"""Which renderer MuJoCo can use here without a screen. Child processes try them.

A broken driver ends the process that loads it, so only the children import MuJoCo.
"""

import sys
from dataclasses import dataclass

from rlottery.processes.children import ChildError, call_in_child, child_environment

_SCENE = "<mujoco><worldbody><light pos='0 0 3'/><geom type='plane' size='1 1 .1'/></worldbody></mujoco>"


@dataclass(frozen=True)
class Renderer:
    """A renderer that was tried, as a value of MUJOCO_GL, and why it doesn't work ("" if it does)."""

    name: str
    fault: str = ""


def try_renderers(seconds: float) -> list[Renderer]:
    """Try renderers in order of preference, for so long each, up to the first that works."""
    tried = []
    for name in ("cgl",) if sys.platform == "darwin" else ("egl", "osmesa"):
        function, environment = f"{__name__}:{brightest_byte.__name__}", {**child_environment(), "MUJOCO_GL": name}
        try:
            brightest = call_in_child(function, seconds=seconds, environment=environment)
            tried.append(Renderer(name, "" if brightest else "the picture is black"))
        except (ChildError, OSError) as error:
            tried.append(Renderer(name, " ".join(str(error).split())))
        if not tried[-1].fault:
            break
    return tried


def brightest_byte() -> int:
    """Render a small scene in this process, which that may end."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 32, 32) as renderer:
        renderer.update_scene(data)
        return int(renderer.render().max())
