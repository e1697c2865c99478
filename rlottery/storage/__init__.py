"""The files of a study: their paths, formats, checksums and locks. No other package builds a path."""
