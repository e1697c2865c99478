"""Options of XLA for tests of what only programs compiled as users have them promise."""

FUSED = {"xla_cpu_use_fusion_emitters": True}
"""Elementwise operations are fused by the emitters that conftest.py turns off."""
AS_USERS_HAVE_IT = {**FUSED, "xla_backend_optimization_level": 3}
