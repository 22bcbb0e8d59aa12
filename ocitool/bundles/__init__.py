"""What belongs to bundles and is not a verb: volumes, inventories, signatures, mappings, names."""
