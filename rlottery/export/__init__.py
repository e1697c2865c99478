"""Trained agents outside of a study: as Python objects, as small files, and in videos of episodes."""
