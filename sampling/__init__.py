"""Batches: which pairs to learn from, against which negatives, on which part of the graph."""
