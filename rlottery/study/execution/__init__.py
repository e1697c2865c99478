"""Who does the jobs: worker processes, and the executor that starts them."""
