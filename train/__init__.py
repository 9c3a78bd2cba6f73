"""Data set -> the same network in three frameworks -> artifacts."""
