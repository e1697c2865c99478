"""Learning algorithms, one file of pure functions each, and the networks and compiled kernels they compute with."""
