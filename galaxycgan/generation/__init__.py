"""From a trained network to files: synthetic catalogs and classified catalogs."""
