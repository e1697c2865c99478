"""Results of a study, from its files alone: scores, statistics, verdicts and masks. It never imports JAX."""
