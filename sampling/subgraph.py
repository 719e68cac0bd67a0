"""The graph with a share of its links left out, for one step."""
from __future__ import annotations

import torch

from gnn.graph import HeteroGraph, Relation
from gnn.sparse import Adj


def drop_edges(graph: HeteroGraph, share: float, generator: torch.Generator) -> dict[Relation, Adj]:
    """Every link dropped with probability `share`, both of its directions together; degrees are of what is left.

    Edge dropout as in SGL (Wu et al. 2021, arXiv:2010.10783, eq. 8): the links stay in the loss, only their messages
    are missing. The structure is kept and dropped edges weigh 0, so a step costs what a full one costs. A reverse
    relation takes the draws of its twin, in the order of its own edges (`Adj.perm`).
    """
    left, masks = {}, {}
    for relation, A in graph.adjs.items():
        twin = next((other for other in masks if graph.adjs[other] is A.T), None)
        if twin is not None:
            keep = masks[twin][graph.adjs[twin].perm]
        else:
            keep = (torch.rand(A.num_edges, generator=generator, device=generator.device) >= share).to(A.device)
            if relation[0] == relation[2]:              # merged: A equals its transpose, and edge perm[e] reverses e
                keep = torch.where(A.row < A.col, keep, keep[A.perm])
        masks[relation] = keep
        left[relation] = A.with_value(keep.float() if A.value is None else A.value * keep)
    return left
