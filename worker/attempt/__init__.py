"""One attempt at one job: claim its slices, transcribe them, assemble what is complete, settle the message."""
