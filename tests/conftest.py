"""Set before any test imports JAX: the tests run on the CPU, whatever the machine has."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
