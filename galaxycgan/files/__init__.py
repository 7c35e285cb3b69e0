"""Files on disk: written at once or not at all, locked, streamed."""
