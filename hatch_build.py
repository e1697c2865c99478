"""Hatchling's hook for wheels and editable installs: compiles the kernels if there is a C++ compiler.

If that fails, rlottery is installed without them, and `rlottery/agents/kernels/_kernels.json` records why.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface):
    """Compiles the kernels. A wheel that contains them is for one platform and any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if sys.platform == "win32":
            self.app.abort("rlottery runs on Linux and macOS. On Windows, install it in WSL (wsl --install).")
        made = _build_module(Path(self.root)).build()
        if not made.built:
            self.app.display_warning(
                f"rlottery: the kernels could not be built: {made.reason}. Tickets will be trained on the masked "
                "dense path, which is slower. `rlottery doctor` shows how to build them later."
            )
            for line in made.compiler_output:
                self.app.display_warning(f"    {line}")
            return
        build_data["pure_python"] = False
        # ctypes loads the library, so it works with every Python of this platform.
        platform = self.build_config.builder.get_best_matching_tag().split("-")[-1]
        build_data["tag"] = f"py3-none-{platform}"


def _build_module(root: Path) -> ModuleType:
    """Load `rlottery.agents.kernels.build` from its path: nothing that rlottery depends on is installed here."""
    spec = importlib.util.spec_from_file_location(
        "build_kernels", root / "rlottery" / "agents" / "kernels" / "build.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
