"""The parts of a bundle's config.json: what an image and the options mean to an OCI runtime."""
