"""Facts about an image: packages, secrets, shells, unusual files, and what of it is denied."""
