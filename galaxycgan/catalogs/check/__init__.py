"""Verify stores and catalogs, compare two of them, sum one up."""
