"""What mistakes do to a comparison: records of `hemabench mistakes` -> rankings, factors, a chart and a page."""
