"""Adam, and an Adam that touches only the rows of a table that a batch has touched."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from gnn import Net

ADAM_EPS = 1e-6             # above the rounding noise of a gradient, which 1e-8 would blow up to a step


def make_optimiser(net: Net, sampled: bool, lr: float) -> torch.optim.Optimizer:
    """Adam; on sampled batches only on the embeddings that the batch has touched."""
    net.inputs.sparse_gradients(sampled)
    if sampled:
        return RowAdam(net.parameters(), lr, ADAM_EPS)
    return torch.optim.Adam(net.parameters(), lr=lr, eps=ADAM_EPS, fused=True)


def gradient_norm(optimiser: torch.optim.Optimizer) -> Tensor:
    """L2 norm of all gradients together. A row that a sparse gradient holds twice counts once, with its sum, as in the
    step (`RowAdam.distinct`)."""
    moved = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    return nn.utils.get_total_norm([optimiser.distinct(p)[1] if p.grad.is_sparse else p.grad for p in moved])


class RowAdam(torch.optim.Optimizer):
    """Adam that touches only the rows a batch has touched: where a gradient is sparse, the other rows of the table and
    their moments stay as they are, and a step costs what the batch costs, not what the table costs.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1, with one step count a table. Dense gradients get plain Adam.
    """

    def __init__(self, parameters, lr: float, eps: float = 1e-8):
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.999), "eps": eps})
        self.stamps: dict[Tensor, Tensor] = {}              # scratch of `distinct_rows`, no part of the state
        self.found: dict[Tensor, tuple] = {}                # what `distinct` has worked out since the last step

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
                rows, g = self.distinct(p)
                m, v, theta = (whole.index_select(0, rows) for whole in (state["m"], state["v"], p))
                self._adam(group, theta, g, m, v, state["step"])
                for whole, part in ((state["m"], m), (state["v"], v), (p, theta)):
                    whole.index_copy_(0, rows, part)
        self.found.clear()

    def distinct(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """`distinct_rows` of p's sparse gradient; the norm and the step of one gradient share it."""
        now = p.grad, p.grad._version                       # the version rises where a backward pass adds to a gradient
        grad, version, rows = self.found.get(p, (None, None, None))
        if grad is not now[0] or version != now[1]:
            if p not in self.stamps:
                self.stamps[p] = torch.zeros(len(p), dtype=torch.int32, device=p.device)
            rows = distinct_rows(p.grad, self.stamps[p])
            self.found[p] = *now, rows
        return rows

    @staticmethod
    def _adam(group: dict, p: Tensor, g: Tensor, m: Tensor, v: Tensor, step: Tensor) -> None:
        beta1, beta2 = group["betas"]
        adam([p], [g], [m], [v], [], [step], fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"],
             weight_decay=0.0, eps=group["eps"], maximize=False)


def distinct_rows(grad: Tensor, stamp: Tensor) -> tuple[Tensor, Tensor]:
    """A sparse gradient's row ids (n,), each once, and their values (n, D). A batch's nodes are distinct already;
    owners, and the nodes of several processes together, may not be, and are summed. stamp: (N,) int32, written over."""
    rows = grad._indices()[0]
    place = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
    stamp.scatter_(0, rows, place)                                          # a repeated row keeps one stamp only
    if not torch.equal(stamp.index_select(0, rows), place):
        grad = grad.coalesce()
    return grad._indices()[0], grad._values()
