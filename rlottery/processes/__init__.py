"""Processes: those that this one starts, what other people's code may do in one, and standard streams that last."""
