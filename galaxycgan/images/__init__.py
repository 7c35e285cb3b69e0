"""What a pixel means: bands, stretches, photometry."""
