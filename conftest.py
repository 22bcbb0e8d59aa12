"""Puts the root of the checkout on the path, so that tests import `tests.support`."""
