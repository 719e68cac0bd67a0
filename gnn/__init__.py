"""The models by name. A new one is a file, a line here and a dense reference in tests/test_models.py."""
from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from gnn.gat import GAT
from gnn.gcn import GCN
from gnn.graph import HeteroGraph
from gnn.hgt import HGT
from gnn.inputs import Inputs, seen_in
from gnn.lightgcn import LightGCN
from gnn.rgcn import RGCN
from gnn.sage import SAGE, HeteroSAGE

MODELS = {
    "lightgcn": LightGCN,
    "gcn": GCN,
    "sage": SAGE,
    "gat": GAT,
    "rgcn": RGCN,
    "hetero-sage": HeteroSAGE,
    "hgt": HGT,
}


class Net(nn.Module):
    """Inputs and a model: what is trained, saved and loaded as one."""

    def __init__(self, inputs: Inputs, model: nn.Module, layers: int):
        super().__init__()
        self.inputs, self.model, self.layers = inputs, model, layers

    def forward(self, nodes: dict[str, Tensor] | None, adjs: list[dict]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Layer-0 vectors x and embeddings z, {type: (n_t, D)} each, for a batch's `nodes` and one `adjs` a layer."""
        x = self.inputs(nodes)
        return x, self.model(x, adjs)

    @torch.no_grad()
    def embed(self, graph: HeteroGraph) -> dict[str, Tensor]:
        """Embeddings of every node on the whole graph, {type: (N_t, D)} by the types of the unmerged graph."""
        training = self.training
        self.eval()
        _, z = self(None, [graph.adjs] * self.layers)
        self.train(training)
        return graph.split(z)


def view_of(name: str, graph: HeteroGraph) -> HeteroGraph:
    """The graph as the model sees it: merged into one node type, or as it is."""
    return graph.merged() if MODELS[name].merged else graph


def own_settings(name: str) -> set[str]:
    """The settings that this model has beyond those of every model, by its constructor."""
    return set(inspect.signature(MODELS[name]).parameters) - {"num_nodes", "relations", "dim", "layers"}


def make_model(view: HeteroGraph, model: str, dim: int, layers: int, owners: bool = False, **settings) -> Net:
    """A fresh network on `view`; `owners`: tracks start from their artist's and album's vectors too (gnn/inputs.py).
    Of `settings`, what the model's constructor takes is handed on, the rest is not its business. The start is drawn
    from torch's global generator."""
    settings["weights"] = view.weights
    own = {key: settings[key] for key in own_settings(model) & set(settings)}
    owning = view.owners if owners else {}
    inputs = Inputs(view.num_nodes, dim, view.features, owning, seen_in(view, owning))
    return Net(inputs, MODELS[model](view.num_nodes, view.relations, dim, layers, **own), layers)
