"""From plain configuration values to objects: building, bounds, hashes, what the groups offer."""
