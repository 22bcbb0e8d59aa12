"""File formats, without disk access: compression, and the tar parser."""
