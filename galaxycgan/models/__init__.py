"""The networks and what they learn from: generator, discriminator, classifier, conditioning."""
