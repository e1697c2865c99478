"""What a study computes on: the processor, or an accelerator that JAX has a plugin for."""

import pkgutil
from importlib.metadata import entry_points
from importlib.util import find_spec

from rlottery.config import Config
from rlottery.errors import StudyError, install_extra

NO_GPU = (
    "The config has device: cuda, but JAX finds no NVIDIA GPU. Install JAX with CUDA "
    f"({install_extra('cuda12')}), or set device: cpu."
)


def has_jax_plugin() -> bool:
    """Whether a plugin of JAX is installed. Every device but the processor needs one."""
    modules = find_spec("jax_plugins")
    inside = [] if modules is None else modules.submodule_search_locations or []
    return bool(entry_points(group="jax_plugins")) or any(pkgutil.iter_modules(inside))


def check_device(config: Config) -> None:
    """Raise StudyError if JAX can't use the config's device here. A plugin without a GPU is found by the workers."""
    if config.device == "cuda" and not has_jax_plugin():
        raise StudyError(NO_GPU)
