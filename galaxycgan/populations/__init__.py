"""Which galaxies a catalog holds: recipes, a mass function, your own table."""
