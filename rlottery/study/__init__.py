"""A study: what runs it needs, what is done, and the workers that do the rest."""
