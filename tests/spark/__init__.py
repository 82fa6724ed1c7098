"""A package, so that what tests define is found by Spark's Python workers, under its full name."""
