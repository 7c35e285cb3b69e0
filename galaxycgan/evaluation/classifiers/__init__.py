"""Scores of a classifier, and paired comparisons of several."""
