"""Losses, ranking, metrics and baselines: pure functions on tensors and arrays, no knowledge of graphs or models."""
