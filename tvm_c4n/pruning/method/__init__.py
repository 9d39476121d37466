"""How one weight matrix is pruned: masks, compensation, rounding, the order of channels."""
