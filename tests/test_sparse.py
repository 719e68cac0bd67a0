"""Every sparse operation against its dense, loop-written meaning, and the traps that torch's own paths fall into."""
import resource

import pytest
import torch
from torch.autograd import gradcheck

from gnn.sparse import (Adj, add_self_loops, edge_add, edge_softmax, hstack, normalize_row, normalize_sym, sddmm,
                        segment_sum, spmm, spmm_linear)

DOUBLE = torch.float64


def random_adj(rows, cols, edges, seed=0, weighted=False):
    """A random adjacency whose last row and last column are isolated."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randperm((rows - 1) * (cols - 1), generator=generator)[:edges]
    value = torch.rand(edges, generator=generator, dtype=DOUBLE) + 0.5 if weighted else None
    return Adj.from_edges(flat // (cols - 1), flat % (cols - 1), (rows, cols), value)


@pytest.fixture
def A():
    return random_adj(7, 9, 20)


def edges(A):
    return list(enumerate(zip(A.row.tolist(), A.col.tolist())))


def randn(*shape):
    return torch.randn(*shape, dtype=DOUBLE, requires_grad=True)


def test_orientation_is_destination_by_source():
    A = Adj.from_edges(dst=[0, 0, 1], src=[2, 0, 1], shape=(2, 3))
    assert A.dense().tolist() == [[1, 0, 1], [0, 1, 0]]
    assert spmm(A, torch.tensor([[1.0], [10.0], [100.0]])).tolist() == [[101.0], [10.0]]


def test_the_messages_of_three_nodes():
    """The example at the top of gnn/sparse.py."""
    A = Adj.from_edges(dst=[0, 0, 1], src=[1, 2, 0], shape=(3, 3))
    assert A.dense().tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert spmm(A, torch.tensor([[10.0], [5.0], [7.0]])).flatten().tolist() == [12, 10, 0]


def test_the_transpose_of_two_by_three():
    """The example of gnn.adjacency.Pattern, with a b c = 1 2 3."""
    A = Adj.from_edges(dst=[0, 0, 1], src=[1, 2, 0], shape=(2, 3), value=[1.0, 2.0, 3.0])
    assert [each.tolist() for each in (A.ptr, A.row, A.col, A.value)] == [[0, 2, 3], [0, 0, 1], [1, 2, 0], [1, 2, 3]]
    B = A.T
    assert [each.tolist() for each in (B.ptr, B.row, B.col, B.value)] == [[0, 1, 2, 3], [0, 1, 2], [1, 0, 0], [3, 1, 2]]
    assert A.perm.tolist() == [2, 0, 1] and B.perm.tolist() == [1, 2, 0]
    assert A.edges_into(0) == slice(0, 2) and A.edges_into(1) == slice(2, 3)


def test_transpose_is_shared_and_carries_the_weights():
    A = random_adj(7, 9, 20, weighted=True)
    assert torch.equal(A.T.dense(), A.dense().T)
    assert A.T.T is A
    assert A.with_value(None).T.ptr is A.T.ptr                       # one structure for every weighting
    assert torch.equal(A.col[A.perm], A.T.row)


@pytest.mark.parametrize("heads", [None, 3])
def test_spmm_equals_dense(A, heads):
    x, value = (randn(9, 4), randn(20)) if heads is None else (randn(heads, 9, 4), randn(heads, 20))
    expected = torch.zeros(*x.shape[:-2], 7, 4, dtype=DOUBLE)
    for e, (i, j) in edges(A):
        expected[..., i, :] += value[..., e].unsqueeze(-1) * x[..., j, :]
    assert torch.allclose(spmm(A, x, value), expected, atol=1e-12)
    assert gradcheck(lambda x, value: spmm(A, x, value), (x, value))


def test_spmm_with_fixed_weights_equals_dense():
    A, x = random_adj(7, 9, 20, weighted=True), randn(9, 4)
    assert torch.allclose(spmm(A, x), A.dense() @ x)
    assert gradcheck(lambda x: spmm(A, x), (x,))
    heads = randn(2, 9, 4)
    assert torch.allclose(spmm(A, heads), A.dense() @ heads)


@pytest.mark.parametrize("heads", [None, 3])
def test_sddmm_equals_dense(A, heads):
    q, k = (randn(7, 4), randn(9, 4)) if heads is None else (randn(heads, 7, 4), randn(heads, 9, 4))
    expected = torch.stack([(q[..., i, :] * k[..., j, :]).sum(-1) for _, (i, j) in edges(A)], dim=-1)
    assert torch.allclose(sddmm(A, q, k), expected)
    assert gradcheck(lambda q, k: sddmm(A, q, k), (q, k))


@pytest.mark.parametrize("heads", [None, 3])
def test_edge_add_equals_dense(A, heads):
    u, v = (randn(7), randn(9)) if heads is None else (randn(heads, 7), randn(heads, 9))
    assert torch.allclose(edge_add(A, u, v), torch.stack([u[..., i] + v[..., j] for _, (i, j) in edges(A)], dim=-1))
    assert gradcheck(lambda u, v: edge_add(A, u, v), (u, v))


@pytest.mark.parametrize("heads", [None, 3])
def test_edge_softmax_equals_dense(A, heads):
    s = randn(20) if heads is None else randn(heads, 20)
    expected = torch.zeros_like(s)
    for i in range(7):
        into = [e for e, (row, _) in edges(A) if row == i]
        if into:
            expected[..., into] = torch.softmax(s[..., into], -1)
    assert torch.allclose(edge_softmax(A, s), expected)
    assert gradcheck(lambda s: edge_softmax(A, s), (s,))


def test_softmax_is_stabilised_by_each_nodes_own_maximum():
    A = Adj.from_edges([0, 0, 1, 1], [0, 1, 0, 1], (2, 2))
    alpha = edge_softmax(A, torch.tensor([1000.0, 999.0, -1000.0, -1001.0]))
    expected = torch.softmax(torch.tensor([1.0, 0.0]), 0)
    assert torch.allclose(alpha, expected.repeat(2))


def test_normalisations_equal_dense():
    A = random_adj(7, 7, 20, weighted=True)
    D = A.dense()
    row, col = D.sum(1), D.sum(0)
    inverse = torch.where(row > 0, 1 / row, 0)
    assert torch.allclose(normalize_row(A, DOUBLE).dense(), D * inverse[:, None])
    sym = normalize_sym(A, 0.4, loops=1.0, dtype=DOUBLE).dense()
    assert torch.allclose(sym, D * (row + 1)[:, None] ** -0.4 * (col + 1)[None] ** -0.4)
    assert normalize_row(A) is normalize_row(A)                      # computed once


def test_linear_on_either_side_is_the_same():
    for shape in ((5, 9), (9, 5)):
        A, x, W = random_adj(*shape, 12), randn(shape[1], 4), randn(3, 4)
        assert torch.allclose(spmm_linear(A, x, W), A.dense().double() @ x @ W.T)


def test_hstack_and_self_loops_equal_dense():
    A, B = random_adj(7, 9, 20), random_adj(7, 5, 12, seed=1)
    assert torch.equal(hstack([A, B]).dense(), torch.cat([A.dense(), B.dense()], 1))
    assert hstack([A, B]) is hstack([A, B])
    square = Adj.from_edges([0, 1, 2], [1, 1, 0], (3, 4))
    assert torch.equal(add_self_loops(square).dense(), (square.dense() + torch.eye(3, 4)).clamp(max=1))


def test_a_relation_without_edges():
    A = Adj.from_edges([], [], (3, 2))
    x, s = randn(2, 4), torch.zeros(0, dtype=DOUBLE, requires_grad=True)
    assert torch.equal(spmm(A, x), torch.zeros(3, 4, dtype=DOUBLE))
    assert spmm(A, x, s).shape == (3, 4) and sddmm(A, randn(3, 4), x).shape == (0,)
    assert edge_softmax(A, s).shape == (0,) and segment_sum(A, s).tolist() == [0, 0, 0]
    spmm(A, x).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_constructor_refuses_what_would_be_wrong_later():
    with pytest.raises(ValueError, match="src ids run 0..3, shape allows 0..2"):
        Adj.from_edges([0, 1], [0, 3], (2, 3))
    with pytest.raises(ValueError, match="repeated edges"):
        Adj.from_edges([0, 0], [1, 1], (2, 3))


def test_gradients_are_right_where_rows_times_columns_exceeds_int32():
    """torch.sparse.mm(reduce) with int32 indices goes silently wrong there; 60,000² > 2³¹."""
    n = 60_000
    generator = torch.Generator().manual_seed(0)
    dst, src = torch.arange(n), torch.randperm(n, generator=generator)
    A = Adj.from_edges(dst, src, (n, n))
    x = torch.randn(n, 2, requires_grad=True, generator=generator)
    value = torch.rand(n, requires_grad=True, generator=generator)
    up = torch.randn(n, 2, generator=generator)
    (spmm(A, x, value) * up).sum().backward()
    expected = torch.zeros_like(x).index_copy(0, src, value.detach().unsqueeze(1) * up)
    assert torch.allclose(x.grad, expected)
    assert torch.allclose(value.grad, (up * x.detach()[src]).sum(1))


def test_gradient_to_edge_values_stays_linear_in_edges():
    """torch's own backward for CSR values forms the dense N × N gradient: 14 GB here."""
    n = 60_000
    A = Adj.from_edges(torch.arange(n), torch.arange(n).flip(0), (n, n))
    value, x = torch.ones(n, requires_grad=True), torch.ones(n, 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spmm(A, x, value).sum().backward()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert torch.equal(value.grad, torch.full((n,), 4.0)) and grown_mb < 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    A = random_adj(70, 90, 400)
    q, k, x, s = torch.randn(2, 70, 8), torch.randn(2, 90, 8), torch.randn(2, 90, 8), torch.randn(2, 400)
    for function in (lambda A, d: spmm(A, x.to(d), s.to(d)), lambda A, d: sddmm(A, q.to(d), k.to(d)),
                     lambda A, d: edge_softmax(A, s.to(d)), lambda A, d: spmm(normalize_sym(A), x[0].to(d))):
        assert torch.allclose(function(A.to("cuda"), "cuda").cpu(), function(A, "cpu"), atol=1e-5)
