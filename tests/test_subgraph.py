"""sampling/subgraph.py: links whose messages a step leaves out."""
import torch

from mpd.build import CONTAINS, IN, build_graph
from mpd.split import make_split
from sampling.subgraph import drop_edges

from helpers import seeded


def test_dropped_edges_leave_in_both_directions(planted):
    playlists, _ = planted
    graph = build_graph(playlists, make_split(playlists).train)
    for view in (graph, graph.merged()):
        left = drop_edges(view, 0.3, seeded())
        for (src, name, dst), A in left.items():
            kept = A.value > 0
            assert abs(float(kept.double().mean()) - 0.7) < 0.05
        if view is graph:
            assert torch.equal(left[IN].value[graph.adjs[IN].perm], left[CONTAINS].value)
        else:
            (A,) = left.values()
            assert torch.equal(A.value[A.perm], A.value)
