"""The writable layer of a container: what it changed in the files of its image.

`opening` opens it, `walking` lists its changes, `lower` is the image below it. `members` makes the
layer of an image from the changes, and `merged` shows what the container sees.
"""
