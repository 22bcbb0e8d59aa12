"""File formats without a disk: compression, and the tar parser."""
