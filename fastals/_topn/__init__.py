"""The best of all scores, exactly, and what a model is asked for."""
