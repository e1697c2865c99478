"""Doing the jobs of a plan: the executor decides what runs when, a backend starts workers, a worker does a job."""
