"""Observations as networks see them if a running mean and variance normalise them. NumPy or JAX; imports neither."""

from typing import Any

LARGEST = 10.0
"""Normalised observations and rewards are clipped to plus and minus this."""
LEAST_VARIANCE = 1e-8
"""Added to variances, so that entries that never change stay finite."""


def normalized(observations: Any, mean: Any, variance: Any) -> Any:
    """Observations (..., obs) with about mean 0 and variance 1, clipped. All are float32."""
    return ((observations - mean) / (variance + LEAST_VARIANCE) ** 0.5).clip(-LARGEST, LARGEST)
