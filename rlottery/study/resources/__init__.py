"""What a study takes: disk, memory, hours, cores."""
