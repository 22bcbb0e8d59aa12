"""What is a secret: by its form, by its name, by the file that it is in."""
