"""The files of a study: their paths, how they are written, and what they say. No other package builds a path."""
