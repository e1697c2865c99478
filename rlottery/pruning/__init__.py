"""Masks by three pure steps: score (criteria), allocate (allocation), select (masks). NumPy alone."""
