"""Stores made from stores: merged ones and selections."""
