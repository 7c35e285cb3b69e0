"""Plots and pictures of galaxies."""
