"""What leaves a study: finished runs as policies to call, as files for robots, and as films."""
