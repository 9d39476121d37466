"""What a model will need and how fast it will run here, before it is downloaded or pruned."""
