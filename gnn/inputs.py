"""Layer 0: what a node is before any message arrives."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from gnn.graph import HeteroGraph, Relation
from gnn.sparse import Adj, spmm


class Inputs(nn.Module):
    """x_i⁰ = [i seen] e_i + Σ_{o ∈ owners(i)} e_o + W_t f_i

    a learnt vector per node, those of its owners (a track's artist and album), and a linear map of its features where
    its type has any.

    num_nodes  {type: N_t};  dim D;  features {type: (N_t, F_t)};  owners {(src, name, dst): Adj}, see HeteroGraph,
    empty where a node is to start as itself alone;  seen {type: (N_t, 1) float}, see `seen_in`, 1 for types not in it.

    e ~ N(0, std²) with std 0.1, which is what LightGCN's code draws; its paper (arXiv:2002.02126) says Xavier.
    """

    def __init__(self, num_nodes: dict[str, int], dim: int, features: dict[str, Tensor] | None = None,
                 owners: dict | None = None, seen: dict[str, Tensor] | None = None, std: float = 0.1):
        super().__init__()
        self.embedding = nn.ModuleDict({t: nn.utils.skip_init(nn.Embedding, n, dim) for t, n in num_nodes.items()})
        for table in self.embedding.values():
            nn.init.normal_(table.weight, std=std)
        self.features, self.owners, self.seen = features or {}, owners or {}, seen or {}    # on the graph's device
        self.project = nn.ModuleDict({t: nn.Linear(f.shape[1], dim, bias=False) for t, f in self.features.items()})
        for t, linear in self.project.items():
            nn.init.normal_(linear.weight, std=std / self.features[t].shape[1] ** 0.5)      # as loud as the embeddings

    def sparse_gradients(self, on: bool) -> None:
        """Whether the gradient of a table has rows only for the nodes asked for, so that a step on a sampled batch
        costs what the batch costs, however large the table (see RowAdam)."""
        for table in self.embedding.values():
            table.sparse = on

    def forward(self, nodes: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Vectors of the nodes asked for, {type: (n_t, D)} in the order of `nodes` {type: (n_t,) ids}; None: of all."""
        out = {}
        for t, table in self.embedding.items():
            out[t] = table.weight if nodes is None else table(nodes[t])                         # e_i    (n_t, D)
            if t in self.seen:
                seen = self.seen[t] if nodes is None else self.seen[t][nodes[t]]
                out[t] = out[t] * seen                                                          # [seen] e_i
            if t in self.project:
                f = self.features[t] if nodes is None else self.features[t][nodes[t]]
                out[t] = out[t] + self.project[t](f)                                            # + W f_i
        for (src, _, dst), A in self.owners.items():
            if nodes is None:
                out[dst] = out[dst] + spmm(A, self.embedding[src].weight)                       # + Σ e_o
            else:                                               # looked up edge by edge: the gradient stays sparse
                A = A.take(nodes[dst])
                each = torch.arange(A.num_edges, dtype=torch.int32, device=A.device)
                out[dst] = out[dst] + spmm(Adj(A.ptr, each, (A.shape[0], A.num_edges)), self.embedding[src](A.col))
        return out


def seen_in(view: HeteroGraph, owners: dict[Relation, Adj]) -> dict[str, Tensor]:
    """[i seen], {type: (N_t, 1) float}, of the types that have owners or features: which nodes have their own vector.

    Where a node has no links, all that training could tell of its own vector is that nobody wants it. So it has none,
    as long as owners or features describe it. Three tracks, and an artist a:

        track   playlists in training   artist   seen   x⁰
        0       4                       a        1      e_0 + e_a
        1       none                    a        0            e_a       starts as its artist does
        2       none                    none     1      e_2             nothing else is known of it
    """
    seen = {}
    for t in set(view.features) | {dst for _, _, dst in owners}:
        described = [A.ptr.diff() > 0 for (_, _, dst), A in owners.items() if dst == t]
        described += [view.features[t].any(1)] if t in view.features else []
        seen[t] = ((view.links(t) > 0) | ~torch.stack(described).any(0)).float().unsqueeze(1)
    return seen


class RowAdam(torch.optim.Optimizer):
    """Adam that touches only the rows a batch has touched: where a gradient is sparse, the other rows of the table and
    their moments stay as they are, and a step costs what the batch costs, not what the table costs.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1, with one step count a table. Dense gradients get plain Adam.
    """

    def __init__(self, parameters, lr: float, eps: float = 1e-8):
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.999), "eps": eps})
        self.stamps: dict[Tensor, Tensor] = {}              # scratch of `distinct_rows`, no part of the state

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state |= {"step": torch.zeros((), device=p.device),      # filled, not mapped: no page fault later
                              "m": torch.empty_like(p).zero_(), "v": torch.empty_like(p).zero_()}
                if not p.grad.is_sparse:
                    self._adam(group, p, p.grad, state["m"], state["v"], state["step"])
                    continue
                if p not in self.stamps:
                    self.stamps[p] = torch.zeros(len(p), dtype=torch.int32, device=p.device)
                rows, g = distinct_rows(p.grad, self.stamps[p])
                m, v, theta = (whole.index_select(0, rows) for whole in (state["m"], state["v"], p))
                self._adam(group, theta, g, m, v, state["step"])
                for whole, part in ((state["m"], m), (state["v"], v), (p, theta)):
                    whole.index_copy_(0, rows, part)

    @staticmethod
    def _adam(group: dict, p: Tensor, g: Tensor, m: Tensor, v: Tensor, step: Tensor) -> None:
        beta1, beta2 = group["betas"]
        adam([p], [g], [m], [v], [], [step], fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"],
             weight_decay=0.0, eps=group["eps"], maximize=False)


def distinct_rows(grad: Tensor, stamp: Tensor) -> tuple[Tensor, Tensor]:
    """A sparse gradient's row ids (n,), each once, and their values (n, D). A batch's nodes are distinct already; owners,
    and the nodes of several processes together, may not be, and are summed. stamp: (N,) int32, written over."""
    rows = grad._indices()[0]
    place = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
    stamp.scatter_(0, rows, place)                                          # a repeated row keeps one stamp only
    if not torch.equal(stamp.index_select(0, rows), place):
        grad = grad.coalesce()
    return grad._indices()[0], grad._values()
