"""Planning a study: its arms, its jobs, and which of them are done. Nothing here imports JAX."""
