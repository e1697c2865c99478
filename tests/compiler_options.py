"""Options of XLA for tests of bits that depend on how elementwise operations are fused."""

FUSED = {"xla_cpu_use_fusion_emitters": True}
"""Elementwise operations are fused by the emitters that conftest.py turns off."""
AS_USERS_HAVE_IT = {**FUSED, "xla_backend_optimization_level": 3}
