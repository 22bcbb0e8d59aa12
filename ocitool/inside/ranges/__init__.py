"""Layers that carry a table of their own contents, read by ranges: eStargz and zstd:chunked.

The manifest promises the digest of the table, and the table the digest of every chunk, so that one
file can be fetched and verified without the rest of its layer. A layer without that promise is
read whole.
"""
