"""Stores written as FITS and as tables of other formats, and read back."""
