"""Learning algorithms, each one file of pure functions behind `base.Algorithm`, and the kernels they run on."""
