"""Looking inside images: the members of layers, the tree they make together, and its waste."""
