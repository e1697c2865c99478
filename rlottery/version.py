"""The version of rlottery. `pyproject.toml` reads it from here; no installed package is needed to know it."""

__version__ = "0.1.0"
