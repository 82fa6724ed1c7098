"""Interactions, from whatever they come in: labels, readers, batches, stores."""
