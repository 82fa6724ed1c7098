"""The row equation, its settings, and the descent that solves it: one half-sweep after the other."""
