"""Whether a run folder is what its run left, and whether its numbers follow from its records."""
