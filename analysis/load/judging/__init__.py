"""The checks that a cell goes through before its numbers are printed."""
