"""The store: one HDF5 file of images and table, written, read, checked, and its splits."""
