"""Names of a training's files. Imports nothing, as a submission asks for them too."""

#: What only an unfinished run needs: it may go when the run is finished.
CHECKPOINT = "checkpoint.pt"
