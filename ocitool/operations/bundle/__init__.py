"""bundle: images in files that cross an air gap, whole or as the difference, and prove themselves.

`create` writes them, `verify` proves them, `check` tells whether a place can take them, and `load`
brings them into a store, an engine or a registry (the format is `places/archive/bundle.py`).
"""
