"""Networks that compute only with their nonzero weights: C++ kernels for JAX, their build, discovery and calls."""
