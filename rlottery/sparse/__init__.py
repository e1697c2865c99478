"""Networks on their nonzeros alone: C++ kernels under JAX, and what stands around them."""
