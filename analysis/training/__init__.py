"""Recorded training runs -> statistics, curves, errors, report."""
