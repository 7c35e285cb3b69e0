"""Convert survey files to a store."""
