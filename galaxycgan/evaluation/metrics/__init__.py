"""Measurements of image sets, distances between them, floors and goals."""
