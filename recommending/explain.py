"""Why a track is recommended: what each song of the playlist adds to its score, the shortest ways that lead from the
songs to it, and, where the model attends, whom it listens to."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gnn.graph import HeteroGraph
from gnn.lightgcn import LightGCN
from gnn.readout import ReadOut, fading
from gnn.sparse import Adj
from mpd.build import CONTAINS, HOLDS, PERFORMS
from training.trained import Trained

VIA = {"playlist": CONTAINS, "artist": PERFORMS, "album": HOLDS}        # relations whose rows are a track's neighbours


class Part(NamedTuple):
    """What one song adds to a score; `song` None is what the playlist adds by itself, through its own embedding."""
    song: int | None
    value: float


class Path(NamedTuple):
    """song → a node of type `via` → track: `count` such nodes join the two; `nodes` are their ids, the most telling,
    that is the least connected, first. strength = Σ 1 / log(1 + degree), after Adamic & Adar, Social Networks 25(3),
    2003.

    Deviation: theirs is 1 / log(degree), which divides by zero at degree 1. A node that joins two tracks has degree 2
    at least, and there counts 0.91 where theirs counts 1.44; from degree 100 on the two hardly differ."""
    song: int
    via: str
    nodes: list[int]
    count: int
    strength: float


class Attention(NamedTuple):
    """A neighbour that a node listens to, with its share of the attention, averaged over the heads."""
    node_type: str
    node: int
    share: float


@dataclass
class Explanation:
    """score: of the track; parts: they add up to it, the largest first; paths: the strongest first; attention: of the
    track in the last layer, the largest first; empty for models that do not attend."""
    track: int
    score: float
    parts: list[Part]
    paths: list[Path]
    attention: list[Attention]


def seed_parts(readout: ReadOut, given: Adj, track: int) -> list[Part]:
    """Parts of the score of a folded-in playlist, given (1, T): v · ẑ = Σ_t weight_t (ẑ_t M) · ẑ, one term a song."""
    toward = readout.map @ readout.tracks[track]                                                        # M ẑ   (D,)
    return _sorted(given.col.tolist(), readout.weights(given).value * (readout.tracks[given.col.long()] @ toward))


def playlist_parts(run: Trained, readout: ReadOut, playlist: int, shown: Adj, track: int) -> list[Part]:
    """Parts of the score of a trained playlist that holds shown (1, T): its own embedding, and its songs through the
    read-out (gnn/readout.py),  v · ẑ = own · ẑ + Σ_t γ w_t (ẑ_t M) · ẑ.

    LightGCN's embedding is a sum over the songs as well, z_p = rest + Σ_t part_t (`LightGCN.parts`), and is taken apart
    too. These are parts of z_p, while the score has own_p = s z_p, with s = 1 for dot products and s = 1 / ‖z_p‖ for
    cosines; both ways s = ‖own_p‖ / ‖z_p‖. So a song adds s part_t · ẑ to its part of the score."""
    model = run.net.model
    z, toward = readout.tracks[track], readout.map @ readout.tracks[track]                              # ẑ, M ẑ
    recent = readout.track_weight * fading(shown, readout.recency).value * (readout.tracks[shown.col.long()] @ toward)
    added, own = dict(zip(shown.col.tolist(), recent.tolist())), float(readout.own[playlist] @ z)
    if isinstance(model, LightGCN):
        node_type, row = run.view.locate("playlist", torch.tensor([playlist]))
        _, start = run.view.locate("track", torch.tensor([0]))
        (A,) = run.view.adjs.values()
        with torch.no_grad():
            messages, col = model.parts(run.net.inputs()[node_type], A, run.net.layers, int(row))      # (n, D), (n,)
        length = run.embeddings["playlist"][playlist].norm().cpu().clamp(min=1e-12)                    # ‖z_p‖
        s = readout.own[playlist].norm() / length
        for song, value in zip((col.cpu() - start).tolist(), (messages.cpu() @ z * s).tolist()):       # s part · ẑ
            added[song], own = added.get(song, 0.0) + value, own - value
    return _sorted([None, *added], torch.tensor([own, *added.values()]))


def paths(graph: HeteroGraph, songs: list[int], track: int) -> list[Path]:
    """Every way of two steps from the songs to the track, the strongest first."""
    found = []
    for via, relation in VIA.items():
        if relation not in graph.adjs:
            continue
        A = graph.adjs[relation]                                        # (T, N_via)
        at_track, degree = A.col[A.edges_into(track)].long(), A.col_degree
        for song in dict.fromkeys(songs):
            common = at_track[torch.isin(at_track, A.col[A.edges_into(song)].long())]
            if len(common) and song != track:
                common = common[torch.argsort(degree[common], stable=True)]
                strength = float((1 / torch.log1p(degree[common].double())).sum())
                found.append(Path(song, via, common.tolist(), len(common), strength))
    return sorted(found, key=lambda path: -path.strength)


def attention(run: Trained, layers: list[dict], node_type: str, node: int) -> list[Attention]:
    """Whom a node listens to in the last of the layers of `attend`, itself included in GAT; empty for models that do
    not attend."""
    nodes, share = heard(run, layers[-1], node_type, node) if layers else ([], torch.zeros(1, 0))
    return sorted((Attention(*each, s) for each, s in zip(nodes, share.mean(0).tolist())), key=lambda each: -each.share)


def attend(run: Trained) -> list[dict[str, tuple[Adj, Tensor]]]:
    """A pass over the whole graph: {type: (A, α)} a layer, as the model sees types, A (N, Σ N_src), α (H, E); no layers
    for models that do not attend."""
    model = run.net.model
    if not hasattr(model, "keep_attention"):
        return []
    model.keep_attention = True
    run.net.embed(run.view)
    layers = [{t: (A.to("cpu"), alpha.cpu()) for t, (A, alpha) in layer.items()} for layer in model.attention]
    model.keep_attention, model.attention = False, []
    return layers


def heard(run: Trained, layer: dict[str, tuple[Adj, Tensor]], node_type: str, node: int) -> tuple[list, Tensor]:
    """Whom a node listens to in a layer of `attend`: n nodes (type, id), and the heads' shares (H, n)."""
    own_type, row = run.view.locate(node_type, torch.tensor([node]))
    A, alpha = layer[own_type]
    edges = A.edges_into(int(row))
    merged = own_type != node_type                                      # then columns run through all types in order
    types = list(run.graph.num_nodes) if merged else [src for src, _, dst in run.view.adjs if dst == node_type]
    starts = torch.tensor([0] + [run.graph.num_nodes[t] for t in types]).cumsum(0)
    which = torch.searchsorted(starts, A.col[edges].long(), right=True) - 1                             # of the types
    return [(types[w], i) for w, i in zip(which.tolist(), (A.col[edges] - starts[which]).tolist())], alpha[:, edges]


def _sorted(songs: list, values: Tensor) -> list[Part]:
    return sorted((Part(song, value) for song, value in zip(songs, values.tolist())), key=lambda part: -part.value)
