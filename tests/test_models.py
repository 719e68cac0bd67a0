"""One contract for all MODELS, and one loop-written dense reference for each (float64, error below 1e-10)."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from gnn import MODELS, make_model, view_of
from gnn.graph import HeteroGraph
from gnn.sparse import Adj

IN, CONTAINS = ("track", "in", "playlist"), ("playlist", "contains", "track")
BY, PERFORMS = ("track", "by", "artist"), ("artist", "performs", "track")
NAMES = sorted(MODELS)
DOUBLE = torch.float64


def toy(num_tracks=8, empty=False, seed=0):
    """6 playlists, 8 tracks, 3 artists; playlist 5, track 7 and artist 2 are isolated; albums have no relation."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randperm(5 * (num_tracks - 1), generator=generator)[:14]
    inside = Adj.from_edges(flat // (num_tracks - 1), flat % (num_tracks - 1), (6, num_tracks))
    tracks = torch.arange(0 if empty else num_tracks - 1)
    performs = Adj.from_edges(tracks, tracks % 2, (num_tracks, 3))
    return HeteroGraph({"playlist": 6, "track": num_tracks, "artist": 3, "album": 2},
                       {IN: inside, CONTAINS: inside.T, PERFORMS: performs, BY: performs.T},
                       {PERFORMS: 0.2, BY: 0.2})


def network(name, graph, layers=2, **own):
    """A float64 network with random biases and priors, so that no term of an equation is hidden by a zero or a one."""
    torch.manual_seed(0)
    net = make_model(view_of(name, graph), name, dim=8, layers=layers, heads=2, **own).double()
    for parameter in net.model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def run(name, net, graph):
    view = view_of(name, graph)
    return view.split(net(None, [view.adjs] * net.layers)[1])


# ---- dense references: nodes and edges one by one --------------------------------------------------------------------

def flat(graph):
    """The merged graph as (x-order types, weighted dense matrix)."""
    return graph.merged().adjs["node", "to", "node"].dense().double()


def dense_lightgcn(net, graph, exponent=0.5):
    A, h = flat(graph), net.inputs.embedding["node"].weight
    d = A.sum(1)
    layers = [h]
    for _ in range(net.layers):
        new = torch.zeros_like(h)
        for i, j in A.nonzero().tolist():
            new[i] += A[i, j] * layers[-1][j] / (d[i] * d[j]) ** exponent
        layers.append(new)
    return sum(layers) / len(layers)


def dense_gcn(net, graph):
    A, h = flat(graph), net.inputs.embedding["node"].weight
    A = A + torch.eye(len(A), dtype=DOUBLE)
    d = A.sum(1)
    for l, layer in enumerate(net.model.layers):
        new = []
        for i in range(len(A)):
            message = sum(A[i, j] * h[j] / (d[i] * d[j]).sqrt() for j in range(len(A)))
            new.append(layer.linear.weight @ message + layer.linear.bias)
        h = torch.stack(new)
        h = h.clamp(min=0) if l < net.layers - 1 else h
    return h


def dense_gat(net, graph):
    A, h = flat(graph), net.inputs.embedding["node"].weight
    for l, layer in enumerate(net.model.layers):
        C, new = 8 // layer.heads, []
        for i in range(len(A)):
            around = [i] + [j for j in range(len(A)) if A[i, j] and j != i]
            heads = []
            for head in range(layer.heads):
                W = layer.linear.weight[head * C:(head + 1) * C]
                e = torch.stack([F.leaky_relu(layer.a_dst[head] @ W @ h[i] + layer.a_src[head] @ W @ h[j], 0.2)
                                 for j in around])
                alpha = torch.softmax(e, 0)
                heads.append(sum(a * (W @ h[j]) for a, j in zip(alpha, around)))
            new.append(torch.cat(heads) + layer.bias)
        h = torch.stack(new)
        h = F.elu(h) if l < net.layers - 1 else h
    return h


def dense_relational(net, graph, neighbour_weight, share):
    """RGCN and hetero-SAGE: W_self h_i + Σ_r share_r W_r mean h_j."""
    x = {t: table.weight for t, table in net.inputs.embedding.items()}
    for l, layer in enumerate(net.model.layers):
        new = {}
        for t in x:
            rows = []
            for i in range(len(x[t])):
                row = layer.self_loop[t].weight @ x[t][i] + layer.self_loop[t].bias
                for relation, A in graph.adjs.items():
                    D = A.dense().double()
                    if relation[2] == t and D[i].sum():
                        mean = sum(D[i, j] * x[relation[0]][j] for j in range(D.shape[1])) / D[i].sum()
                        row = row + share(layer, relation) * (neighbour_weight(layer, relation) @ mean)
                rows.append(row)
            new[t] = torch.stack(rows)
        x = {t: h.clamp(min=0) for t, h in new.items()} if l < net.layers - 1 else new
    return x


def dense_rgcn(net, graph):
    return dense_relational(net, graph, lambda layer, r: layer.weight()[list(graph.adjs).index(r)], lambda *_: 1.0)


def dense_hetero_sage(net, graph):
    total = {t: sum(w for r, w in graph.weights.items() if r[2] == t) for t in graph.num_nodes}
    return dense_relational(net, graph, lambda layer, r: layer.neighbours["-".join(r)].weight,
                            lambda layer, r: graph.weights[r] / total[r[2]])


def dense_sage(net, graph):
    merged = graph.merged()
    return dense_relational(net, merged, lambda layer, r: layer.neighbours["-".join(r)].weight, lambda *_: 1.0)["node"]


def dense_hgt(net, graph):
    x = {t: table.weight for t, table in net.inputs.embedding.items()}
    for layer in net.model.layers:
        C, new = 8 // layer.heads, {}
        for t in x:
            rows = []
            for i in range(len(x[t])):
                into = [(r, j) for r, A in graph.adjs.items() if r[2] == t
                        for j in range(A.shape[1]) if A.dense()[i, j]]
                heads = []
                for head in range(layer.heads):
                    part = slice(head * C, (head + 1) * C)
                    q, scores, messages = layer.Q[t](x[t][i])[part], [], []
                    for r, j in into:
                        n = "-".join(r)
                        k = layer.K[r[0]](x[r[0]][j])[part] @ layer.W_att[n][head]
                        scores.append(k @ q * layer.mu[n][head] / math.sqrt(C))
                        messages.append(layer.V[r[0]](x[r[0]][j])[part] @ layer.W_msg[n][head])
                    alpha = torch.softmax(torch.stack(scores), 0) if into else []
                    heads.append(sum((a * m for a, m in zip(alpha, messages)), torch.zeros(C, dtype=DOUBLE)))
                g = torch.sigmoid(layer.skip[t])
                rows.append(g * layer.A[t](F.gelu(torch.cat(heads))) + (1 - g) * x[t][i])
            new[t] = torch.stack(rows)
        x = new
    return x


DENSE = {"lightgcn": dense_lightgcn, "gcn": dense_gcn, "gat": dense_gat, "sage": dense_sage, "rgcn": dense_rgcn,
         "hetero-sage": dense_hetero_sage, "hgt": dense_hgt}


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_dense_reference(name):
    graph = toy()
    net = network(name, graph)
    z, expected = run(name, net, graph), DENSE[name](net, graph)
    if not isinstance(expected, dict):
        expected = graph.merged().split({"node": expected})
    for t in z:
        assert (z[t] - expected[t]).abs().max() < 1e-10, t


def test_basis_decomposition_equals_its_dense_reference():
    graph = toy()
    net = network("rgcn", graph, bases=2)
    z, expected = run("rgcn", net, graph), dense_rgcn(net, graph)
    assert all((z[t] - expected[t]).abs().max() < 1e-10 for t in z)
    assert net.model.layers[0].V.shape == (2, 8, 8)


def test_softened_normalisation_equals_its_dense_reference():
    graph = toy()
    net = network("lightgcn", graph, exponent=0.3)
    z = graph.merged().split({"node": dense_lightgcn(net, graph, 0.3)})
    assert all((run("lightgcn", net, graph)[t] - z[t]).abs().max() < 1e-10 for t in z)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_pass_gradcheck(name):
    graph = toy()
    net, view = network(name, graph, layers=1), view_of(name, graph)
    leaves = [p for p in net.parameters()]

    def function(*parameters):
        for target, value in zip(leaves, parameters):
            target.data = value.data
        named = dict(zip([n for n, _ in net.named_parameters()], parameters))
        z = torch.func.functional_call(net, named, (None, [view.adjs]))[1]
        return tuple(z.values())
    assert gradcheck(function, tuple(p.detach().clone().requires_grad_() for p in leaves), atol=1e-6, fast_mode=True)


# ---- the contract ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_isolated_nodes(name, layers):
    graph = toy()
    z = run(name, network(name, graph, layers), graph)
    assert {t: h.shape for t, h in z.items()} == {t: (n, 8) for t, n in graph.num_nodes.items()}
    assert all(h.isfinite().all() for h in z.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_relation_changes_nothing_but_its_own_messages(name):
    graph = toy(empty=True)
    net = network(name, graph)
    z = run(name, net, graph)
    assert all(h.isfinite().all() for h in z.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name):
    graph = toy()
    net = network(name, graph)
    z = run(name, net, graph)
    sum((h * torch.randn_like(h)).sum() for h in z.values()).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [n for n in without if ".album." not in n] == []     # albums have no relation here, so nothing to attend to


@pytest.mark.parametrize("name", NAMES)
def test_permutation_equivariance(name):
    graph = toy()
    net, order = network(name, graph), torch.randperm(8, generator=torch.Generator().manual_seed(1))
    inverse = order.argsort()

    def moved(relation, A):
        dst, src = A.row.long(), A.col.long()
        dst = inverse[dst] if relation[2] == "track" else dst
        src = inverse[src] if relation[0] == "track" else src
        return Adj.from_edges(dst, src, A.shape)
    other = HeteroGraph(graph.num_nodes, {r: moved(r, A) for r, A in graph.adjs.items()}, graph.weights)
    before = run(name, net, graph)
    for key, table in net.inputs.embedding.items():
        start = 6 if key == "node" else 0                # merged ids: playlists first, then tracks
        if key in ("node", "track"):
            table.weight.data[start:start + 8] = table.weight.data[start:start + 8][order]
    after = run(name, net, other)
    assert torch.allclose(after["track"], before["track"][order])
    assert torch.allclose(after["playlist"], before["playlist"])


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_relations_does_not_matter(name):
    graph = toy()
    net = network(name, graph)
    shuffled = HeteroGraph(graph.num_nodes, dict(reversed(graph.adjs.items())), graph.weights)
    for t, h in run(name, net, graph).items():
        assert torch.allclose(run(name, net, shuffled)[t], h, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_destination_rows_are_the_first_rows(name):
    """A last layer trimmed to the first nodes of each type gives the first rows of the full result."""
    graph = toy()
    net, view = network(name, graph), view_of(name, graph)
    full = net(None, [view.adjs] * 2)[1]
    keep = {t: n - 1 for t, n in view.num_nodes.items()}
    last = {r: A.trim(keep[r[2]], view.num_nodes[r[0]]) for r, A in view.adjs.items()}
    trimmed = net(None, [view.adjs, last])[1]
    for t in {r[2] for r in view.adjs}:
        assert torch.allclose(trimmed[t], full[t][:keep[t]])


@pytest.mark.parametrize("name", ["gat", "hgt"])
def test_attention_into_a_node_sums_to_one_over_all_relations(name):
    graph = toy()
    net = network(name, graph)
    net.model.keep_attention = True
    run(name, net, graph)
    assert len(net.model.attention) == 2
    for layer in net.model.attention:
        for A, alpha in layer.values():
            total = torch.zeros(2, A.shape[0], dtype=DOUBLE).index_add(1, A.row, alpha)
            assert torch.allclose(total[:, A.ptr.diff() > 0], torch.ones((), dtype=DOUBLE))


@pytest.mark.parametrize("name", NAMES)
def test_dropout_only_while_training(name):
    graph = toy()
    net = network(name, graph, dropout=0.5)
    net.eval()
    assert all(torch.equal(a, b) for a, b in zip(run(name, net, graph).values(), run(name, net, graph).values()))


def test_merged_and_split_are_inverse():
    graph = toy()
    merged = graph.merged()
    x = {t: torch.randn(n, 3) for t, n in graph.num_nodes.items()}
    z = merged.split({"node": torch.cat(list(x.values()))})
    assert all(torch.equal(z[t], x[t]) for t in x)
    where, ids = merged.locate("track", torch.tensor([0, 7]))
    assert where == "node" and ids.tolist() == [6, 13]
    assert flat(graph)[6:14, :6].equal(graph.adjs[CONTAINS].dense().double())
    assert flat(graph)[6:14, 14:17].float().equal(0.2 * graph.adjs[PERFORMS].dense())


def test_the_merged_view_of_six_nodes():
    """The example at the top of gnn/graph.py, with w = 0.5."""
    A, B = Adj.from_edges([0, 0, 1], [0, 1, 2], (2, 3)), Adj.from_edges([0, 1], [0, 0], (3, 1))
    merged = HeteroGraph({"playlist": 2, "track": 3, "artist": 1}, {IN: A, CONTAINS: A.T, PERFORMS: B, BY: B.T},
                         {PERFORMS: 0.5, BY: 0.5}).merged()
    (whole,) = merged.adjs.values()
    assert whole.dense().tolist() == [[0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, .5], [1, 0, 0, 0, 0, .5],
                                      [0, 1, 0, 0, 0, 0], [0, 0, .5, .5, 0, 0]]
    assert [merged.locate(t, torch.tensor([0]))[1].item() for t in ("playlist", "track", "artist")] == [0, 2, 5]


def test_graph_refuses_the_other_orientation():
    with pytest.raises(ValueError, match="track-in-playlist: adjacency is 3 × 2, must be"):
        HeteroGraph({"playlist": 2, "track": 3}, {IN: Adj.from_edges([0], [0], (3, 2))})


def test_only_an_undescribed_track_keeps_a_vector_that_training_never_saw():
    """The example of gnn.inputs.seen_in."""
    inside, performs = Adj.from_edges([0, 1, 2, 3], [0, 0, 0, 0], (4, 3)), Adj.from_edges([0, 1], [0, 0], (3, 1))
    graph = HeteroGraph({"playlist": 4, "track": 3, "artist": 1},
                        {IN: inside, CONTAINS: inside.T, PERFORMS: performs, BY: performs.T},
                        owners={PERFORMS: performs})
    net = make_model(graph, "rgcn", dim=4, layers=1, owners=True)
    (a,), e = net.inputs.embedding["artist"].weight, net.inputs.embedding["track"].weight
    assert net.inputs.seen["track"].flatten().tolist() == [1, 0, 1]
    assert torch.allclose(net.inputs()["track"], torch.stack([e[0] + a, a, e[2]]))


@pytest.mark.parametrize("merged", [False, True])
def test_inputs_add_owners_and_features(merged):
    graph = toy()
    graph = HeteroGraph(graph.num_nodes, graph.adjs, graph.weights, {"track": torch.randn(8, 3)},
                        {PERFORMS: graph.adjs[PERFORMS]})
    view = graph.merged() if merged else graph
    torch.manual_seed(0)
    net = make_model(view, "lightgcn" if merged else "rgcn", dim=4, layers=1, owners=True)
    x = view.split(net.inputs())
    tables = view.split({t: table.weight for t, table in net.inputs.embedding.items()})
    (W,) = (linear.weight for linear in net.inputs.project.values())
    seen = graph.adjs[CONTAINS].ptr.diff() > 0              # a track that no playlist shows has no vector of its own
    assert 0 < seen.sum() < 8
    for t in range(8):
        expected = seen[t] * tables["track"][t] + W @ graph.features["track"][t]
        if t < 7:
            expected = expected + tables["artist"][t % 2]
        assert torch.allclose(x["track"][t], expected, atol=1e-6)
    assert torch.equal(x["playlist"], tables["playlist"])
    some = {t: torch.randint(n, (5,)) for t, n in view.num_nodes.items()}
    net.inputs.sparse_gradients(True)
    for t, h in net.inputs(some).items():
        assert torch.allclose(h, net.inputs()[t][some[t]], atol=1e-6)
