"""The training loops, their sampling and their checkpoints."""
