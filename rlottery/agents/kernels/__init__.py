"""Networks on their nonzeros alone: C++ kernels under JAX, and how they are built, found and called."""
