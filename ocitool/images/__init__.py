"""Which image is meant, and what a list shows of each."""
