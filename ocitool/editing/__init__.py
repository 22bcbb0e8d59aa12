"""Editing images: pure functions from the bytes of an image and what to change to new bytes.

The same arguments give the same bytes: nothing here asks for the time, the machine or the order of
a folder. Only what an edit is about changes; unknown members of a document and their order stay.
"""
