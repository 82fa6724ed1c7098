"""What one asks a model about itself: why, how healthy, how large."""
