"""Mistakes that pick winners, each made alone, as a user would make it, against the same careful measurement.

`table` says what the mistakes are; `pytorch`, `tensorflow` and `jax` hold the code that a user of
each would write, with the same names inside; `worker` times it in a process of its own; `measure`
starts the processes and keeps what they say.
"""
