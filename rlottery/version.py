"""The version of rlottery, also where the package is not installed; `pyproject.toml` reads it here."""

__version__ = "0.1.0"
