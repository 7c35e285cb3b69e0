"""Names of a training's files. Imports nothing, as a submission asks for them too."""

#: What only a run that goes on needs: it may go when the run is finished.
CHECKPOINT = "checkpoint.pt"
