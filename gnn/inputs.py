"""Layer 0: what a node is before any message arrives."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.adam import adam


class Inputs(nn.Module):
    """x_i⁰ = e_i + W_t f_i: a learnt vector per node, plus a linear map of its features where its type has any.

    num_nodes  {type: N_t};  dim D;  features {type: (N_t, F_t)}.  e ~ N(0, 0.1²), as in LightGCN (arXiv:2002.02126).
    `sparse`: the gradient of a table has rows only for the nodes asked for, so that a step on a sampled batch costs what
    the batch costs, however large the table.
    """

    def __init__(self, num_nodes: dict[str, int], dim: int, features: dict[str, Tensor] | None = None, std: float = 0.1):
        super().__init__()
        self.embedding = nn.ParameterDict({t: nn.Parameter(torch.randn(n, dim) * std) for t, n in num_nodes.items()})
        self.features, self.sparse = features or {}, False
        self.project = nn.ModuleDict({t: nn.Linear(f.shape[1], dim, bias=False) for t, f in self.features.items()})

    def forward(self, nodes: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Vectors of the nodes asked for, {type: (n_t, D)} in the order of `nodes` {type: (n_t,) ids}; None: of all."""
        out = {}
        for t, table in self.embedding.items():
            ids = None if nodes is None else nodes[t]
            out[t] = table if ids is None else F.embedding(ids, table, sparse=self.sparse)      # e_i    (n_t, D)
            if t in self.project:
                f = self.features[t] if ids is None else self.features[t][ids]
                out[t] = out[t] + self.project[t](f)                                            # + W f_i
        return out


class RowAdam(torch.optim.Optimizer):
    """Adam on the rows of a table that a batch has touched; the other rows and their moments stay as they are.

    For gradients of `Inputs` with `sparse` set, whose rows are distinct. A step costs what the batch costs, where Adam's
    would cost what the table costs. Kingma & Ba 2015, arXiv:1412.6980, algorithm 1, with the step count of the table.
    """

    def __init__(self, parameters, lr: float):
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state |= {"step": torch.zeros(()), "m": torch.zeros_like(table), "v": torch.zeros_like(table)}
                rows, g = table.grad._indices()[0], table.grad._values()
                m, v, theta = (whole.index_select(0, rows) for whole in (state["m"], state["v"], table))
                adam([theta], [g], [m], [v], [], [state["step"]], fused=True, amsgrad=False, beta1=beta1, beta2=beta2,
                     lr=group["lr"], weight_decay=0.0, eps=group["eps"], maximize=False)
                for whole, part in ((state["m"], m), (state["v"], v), (table, theta)):
                    whole.index_copy_(0, rows, part)
