"""The commands of ``hemabench``, which alone print and exit. Each imports its stage when it is called."""
