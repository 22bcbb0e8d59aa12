"""The packages that are installed in an image, read from the databases of each ecosystem."""
