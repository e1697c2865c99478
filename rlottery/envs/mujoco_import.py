"""MuJoCo for processes that render nothing, whatever MUJOCO_GL says."""

import importlib
import os
import sys


def import_without_renderer() -> bool:
    """Import MuJoCo as if MUJOCO_GL were not set. Returns whether that makes a difference here, and works.

    Importing MuJoCo loads the renderer that MUJOCO_GL names, and fails if its library is missing or the name is wrong.
    Training doesn't need it. The variable keeps its value, for rendering.
    """
    if "mujoco" in sys.modules or not os.environ.get("MUJOCO_GL"):
        return False
    given = os.environ.pop("MUJOCO_GL")
    try:
        importlib.import_module("mujoco")
    except Exception:  # a library that is missing or broken may raise anything
        return False
    finally:
        os.environ["MUJOCO_GL"] = given
    return True
