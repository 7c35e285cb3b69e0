"""What the files of one format look like: FITS, HDF5, npy, VOTable, and their suffixes."""
