"""All that knows what a catalog is: schema, conversion, store, export, verification, populations."""
