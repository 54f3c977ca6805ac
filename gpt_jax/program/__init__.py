"""What the device runs: the training step and all that is built around it once."""
