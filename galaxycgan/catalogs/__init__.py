"""What a catalog is: schema, conversion, store, export, verification, populations."""
