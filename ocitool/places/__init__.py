"""Places that hold images: layout, archive, engine, registry. They never import each other."""
