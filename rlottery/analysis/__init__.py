"""What the files of a study say. It reads the store and nothing else, and never imports JAX."""
