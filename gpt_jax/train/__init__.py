"""The training program and the loop that runs it."""
