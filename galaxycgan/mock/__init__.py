"""An HSC-like survey with known truth: what galaxies there are, how they look, and the files."""
