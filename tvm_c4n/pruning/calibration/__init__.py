"""What pruning is fitted to: calibration windows, their activations in both models, statistics."""
