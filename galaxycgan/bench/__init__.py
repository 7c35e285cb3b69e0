"""Speed, measured as a ratio to a limit of the same machine in the same run."""
