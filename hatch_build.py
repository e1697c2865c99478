"""Hatchling's hook for wheels and editable installs: compiles the kernels where there is a C++ compiler.

Without one, or if it fails, the install goes on without them; why is in `rlottery/agents/kernels/_kernels.json`.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface):
    """Compiles the kernels; a wheel that holds them is for one platform and any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        made = _build_module(Path(self.root)).build()
        if not made.built:
            self.app.display_warning(
                f"rlottery: the kernels could not be built: {made.reason}. Tickets will be trained on the masked "
                "dense path, which is slower."
            )
            for line in made.said:
                self.app.display_warning(f"    {line}")
            return
        build_data["pure_python"] = False
        # Loaded by ctypes, it is tied to the platform alone.
        platform = self.build_config.builder.get_best_matching_tag().split("-")[-1]
        build_data["tag"] = f"py3-none-{platform}"


def _build_module(root: Path) -> ModuleType:
    """`rlottery.agents.kernels.build` by its path: rlottery's dependencies are not installed where it is built."""
    spec = importlib.util.spec_from_file_location(
        "build_kernels", root / "rlottery" / "agents" / "kernels" / "build.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
