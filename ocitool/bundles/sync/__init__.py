"""Mirroring by a file of rules: the file, which tags its rules take, and the frozen plan."""
