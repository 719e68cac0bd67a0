"""Drawings of graphs and runs: what to show (subgraphs), where it goes (layout), how it looks (style)."""
