"""The documentation site: which pages it has, and how they are made from the repository's files."""
