"""The estimators and what they fit: state, files, folding in."""
