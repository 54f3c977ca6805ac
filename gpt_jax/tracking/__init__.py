"""What a run reports: metrics files, TensorBoard, console, the loss curve."""
