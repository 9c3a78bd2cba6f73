"""Whether a split leaks: copies across it, and traces of how images were taken that tell their class."""
