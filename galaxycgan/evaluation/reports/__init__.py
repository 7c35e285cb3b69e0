"""The reports: pages and their pictures."""
