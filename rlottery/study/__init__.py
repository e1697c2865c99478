"""Running a study: planning its jobs, executing their stages, and showing what is done."""
