"""Measurements of rlottery: speed against the machine, learning against another implementation."""
