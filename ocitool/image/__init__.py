"""What an image is, whatever place holds it: content, the manifest graph, and layers."""
