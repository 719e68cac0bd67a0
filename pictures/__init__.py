"""Drawings of graphs and runs: what to show (subgraphs), what to say (texts), where it goes (layout), how it looks
(style) and, from these, the kinds of picture: networks, maps, charts, attention."""
