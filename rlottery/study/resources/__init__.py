"""Estimates of the disk, memory and time that a study needs."""
