"""What a model folder or an artifact holds: a summary, and a page of HTML with pictures."""
