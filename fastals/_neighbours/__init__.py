"""Neighbourhood models, the baselines of collaborative filtering."""
