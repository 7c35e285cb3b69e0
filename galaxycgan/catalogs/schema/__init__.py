"""The columns of a catalog: names, units, legal ranges, types."""
