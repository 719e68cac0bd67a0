"""What a message is, and the few operations that every model is written in.

Three nodes with one feature each. Node 0 hears nodes 1 and 2, node 1 hears node 0, and node 2 hears nobody. As a matrix
with a row for every node that hears and a column for every node that speaks:

              from 0  1  2
        to 0     [ 0  1  1 ]           [ 10 ]            [ 5 + 7 ]
    A = to 1     [ 1  0  0 ]       x = [  5 ]      A x = [  10   ]
        to 2     [ 0  0  0 ]           [  7 ]            [   0   ]

Every node sends its features along its edges, and every node adds up what arrives. With a weight a_ij on the edge from
j to i, here 1, and N(i) the neighbours of i, the nodes that it hears, all messages at once are

    spmm(A, x)[i] = Σ_{j ∈ N(i)} a_ij x_j                a sparse matrix times a dense one

Here the same nodes hear and speak, and A is square, (N, N). Where playlists hear tracks, a row is a playlist and a
column is a track, and A is (N_dst, N_src): destinations by sources. The first two rows alone are such a matrix, (2, 3).
This is the one orientation of the whole repository, and no model transposes anything.

    spmm(A, x)[i]            Σ_{j ∈ N(i)} a_ij x_j                            weighted sum of the neighbours
    sddmm(A, q, k)[e]        ⟨q_i, k_j⟩                      for e = (i ← j)  a dot product on every edge
    edge_add(A, u, v)[e]     u_i + v_j                       for e = (i ← j)  a sum on every edge
    edge_softmax(A, s)[e]    exp s_e / Σ_{e' into i} exp s_e'                 softmax over the edges into a node
    spmm_linear(A, x, W)     (A x) Wᵀ                                         weighted sums, then a linear map
    first(x, n)              the first n rows of x                            a node's own vector (see gnn/graph.py)

and on adjacencies, in gnn/adjacency.py:

    normalize_row(A)         a_ij / d_i                 rows sum to 1, so that spmm is a mean; d_i = Σ_j a_ij
    normalize_sym(A, c)      a_ij / (d_i^c d_j^c)       d_j = Σ_i a_ij; c = ½ is the symmetric normalisation of GCN
    hstack([A, B])           [A B], side by side        several kinds of neighbours under one softmax
    add_self_loops(A)        A + I                      every node hears itself too

The first four carry gradients to node features *and* to edge values, and take a leading head dimension H. Most models
use the first alone; the sums and products on edges are for attention.
Letters: N nodes, E edges, D features, H heads, C = D / H features a head.
"""
from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from gnn.adjacency import Adj, add_self_loops, hstack, normalize_row, normalize_sym, segment_reduce

__all__ = ["Adj", "add_self_loops", "edge_add", "edge_softmax", "first", "hstack", "normalize_row", "normalize_sym",
           "sddmm", "segment_sum", "spmm", "spmm_linear"]           # a model imports from here alone


# ---- the operations --------------------------------------------------------------------------------------------------

def spmm(A: Adj, x: Tensor, value: Tensor | None = None) -> Tensor:
    """Weighted neighbour sum  out_i = Σ_{j ∈ N(i)} a_ij x_j.

    x: (N_src, D), weights (E,) from `value` or else `A.value`  →  (N_dst, D)
    x: (H, N_src, C), value (H, E)                              →  (H, N_dst, C), each head with its own weights
    """
    assert x.shape[-2] == A.shape[1], f"x has {x.shape[-2]} rows, {A} takes {A.shape[1]}"
    if value is None and x.dim() == 2:
        return _FixedSpMM.apply(x, A)
    if value is None:
        value = (torch.ones(A.num_edges, device=x.device) if A.value is None else A.value).to(x.dtype)
        value = value.expand(x.shape[0], -1)
    return _SpMM.apply(x, value, A)


def sddmm(A: Adj, q: Tensor, k: Tensor) -> Tensor:
    """Dot product on every edge  s_e = ⟨q_i, k_j⟩.  q: (N_dst, D), k: (N_src, D) → (E,); heads (H, N, C) → (H, E)."""
    assert q.shape[-2] == A.shape[0] and k.shape[-2] == A.shape[1], f"q {tuple(q.shape)}, k {tuple(k.shape)}, {A}"
    return _SDDMM.apply(q, k, A)


def edge_add(A: Adj, u: Tensor, v: Tensor) -> Tensor:
    """Sum on every edge  s_e = u_i + v_j.  u: (N_dst,), v: (N_src,) → (E,); with heads (H, N) → (H, E)."""
    return _EdgeAdd.apply(u, v, A)


def edge_softmax(A: Adj, s: Tensor) -> Tensor:
    """Softmax over the edges into a node, stabilised by each node's own maximum.  s: (E,) → (E,) or (H, E) → (H, E)."""
    return _EdgeSoftmax.apply(s, A)


def segment_sum(A: Adj, s: Tensor) -> Tensor:
    """Σ of the values on the edges into each node.  s: (E,) → (N_dst,) or (H, E) → (H, N_dst). No gradient."""
    return segment_reduce(A, s, "sum")


def first(x: Tensor, rows: int | None) -> Tensor:
    """The first `rows` of x (N, …), the destinations' own. Where that is all of them, or `rows` is None, x itself: on
    the full graph a slice would cost the backward pass a copy."""
    return x if rows is None or rows == len(x) else x[:rows]


def spmm_linear(A: Adj, x: Tensor, weight: Tensor) -> Tensor:
    """(A x) Wᵀ = A (x Wᵀ), multiplied by W where there are fewer rows.  x (N_src, D), W (D', D) → (N_dst, D')."""
    if A.shape[0] <= A.shape[1]:
        return F.linear(spmm(A, x), weight)                 # aggregate, then transform N_dst rows
    return spmm(A, F.linear(x, weight))                     # transform N_src rows, then aggregate


# ---- how they run ----------------------------------------------------------------------------------------------------
#
# On the CPU spmm is `embedding_bag`, two to four times faster than a sparse matrix product, and sddmm is
# `sampled_addmm`; on CUDA both are torch.sparse CSR operations.

def _csr(A: Adj, value: Tensor) -> Tensor:
    with warnings.catch_warnings():                       # torch calls its CSR layout beta, once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return torch.sparse_csr_tensor(A.ptr, A.col, value, A.shape, check_invariants=False)


def _gather_sum(A: Adj, x: Tensor, value: Tensor | None) -> Tensor:
    """spmm without autograd, one head: x (N_src, D), value (E,) or None → (N_dst, D). An embedding bag is a table whose
    rows are looked up and summed bag by bag: here a bag is a destination, and its rows are the sources'."""
    if not A.num_edges:
        return x.new_zeros(A.shape[0], x.shape[1])
    if x.is_cuda:
        return _csr(A, x.new_ones(A.num_edges) if value is None else value) @ x
    return F.embedding_bag(A.col, x.contiguous(), A.ptr, mode="sum", per_sample_weights=value,
                           include_last_offset=True)


def _per_head(function):
    """Let a function of one head take all: tensors with a leading head dimension are worked on head by head, which
    keeps the edge values of one head in the cache from one pass over them to the next."""
    def over_heads(A: Adj, *tensors: Tensor) -> Tensor:
        return torch.stack([function(A, *head) for head in zip(*tensors)])
    return over_heads


def _spmm(A: Adj, x: Tensor, value: Tensor) -> Tensor:
    if x.dim() == 2:
        return _gather_sum(A, x, value.contiguous())
    heads = [_spmm(A, *head) for head in zip(x, value)]
    return torch.stack(heads, dim=1).transpose(0, 1)            # laid out as (N, H, C): joining the heads costs nothing


def _spmm_transposed(A: Adj, x: Tensor, value: Tensor) -> Tensor:
    """Σ_i a_ij x_i, with the weights in the order of A's edges."""
    if x.dim() == 2:
        return _gather_sum(A.T, x, value.index_select(0, A.perm))
    heads = [_spmm_transposed(A, *head) for head in zip(x, value)]
    return torch.stack(heads, dim=1).transpose(0, 1)


def _sddmm(A: Adj, q: Tensor, k: Tensor) -> Tensor:
    if q.dim() == 3:
        return _per_head(_sddmm)(A, q, k)
    if not A.num_edges:
        return q.new_zeros(0)
    zeros = _csr(A, q.new_zeros(A.num_edges))
    return torch.sparse.sampled_addmm(zeros, q.contiguous(), k.contiguous().t(), beta=0.0).values()


def _edge_add(A: Adj, u: Tensor, v: Tensor) -> Tensor:
    if u.dim() == 2:
        return _per_head(_edge_add)(A, u, v)
    return u.index_select(0, A.row).add_(v.index_select(0, A.col))


def _sum_by_source(A: Adj, s: Tensor) -> Tensor:
    """Σ of the edge values out of each source, without the transpose: (E,) → (N_src,) or (H, E) → (H, N_src)."""
    if s.dim() == 2:
        return torch.stack([_sum_by_source(A, head) for head in s])
    return s.new_zeros(A.shape[1]).index_add_(0, A.col, s)


def _softmax(A: Adj, s: Tensor) -> Tensor:
    if s.dim() == 2:
        return _per_head(_softmax)(A, s)
    alpha = segment_reduce(A, s, "max").index_select(0, A.row)
    torch.sub(s, alpha, out=alpha).exp_()
    return alpha.div_(segment_reduce(A, alpha, "sum").index_select(0, A.row))


def _softmax_backward(A: Adj, alpha: Tensor, grad: Tensor) -> Tensor:
    """∂s_e = α_e (g_e − Σ_{e'} α_e' g_e')."""
    if alpha.dim() == 2:
        return _per_head(_softmax_backward)(A, alpha, grad)
    mean = segment_reduce(A, alpha * grad, "sum").index_select(0, A.row)
    return torch.sub(grad, mean, out=mean).mul_(alpha)


# ---- their gradients -------------------------------------------------------------------------------------------------
#
# Autograd never sees a sparse tensor. Torch's own backward for the values of a CSR matrix builds the dense
# (N_dst, N_src) gradient first, and its int32 reduce path returns wrong gradients once N_dst · N_src passes 2³¹. The
# backward of each operation is one of the same operations, over A or over its transpose, which is built once for an
# adjacency and shared with its reverse relation.

class _FixedSpMM(torch.autograd.Function):
    """spmm with constant weights: the transpose's weights are permuted once and kept."""

    @staticmethod
    def forward(ctx, x, A):
        ctx.A = A
        return _gather_sum(A, x, None if A.value is None else A.value.to(x.dtype))

    @staticmethod
    def backward(ctx, grad):
        T = ctx.A.T
        return _gather_sum(T, grad, None if T.value is None else T.value.to(grad.dtype)), None


class _SpMM(torch.autograd.Function):
    """spmm with weights that are learnt or computed, as attention's."""

    @staticmethod
    def forward(ctx, x, value, A):
        ctx.A = A
        ctx.save_for_backward(x, value)
        return _spmm(A, x, value)

    @staticmethod
    def backward(ctx, grad):
        x, value = ctx.saved_tensors
        need_x, need_value, _ = ctx.needs_input_grad
        grad = grad.contiguous()
        grad_x = _spmm_transposed(ctx.A, grad, value) if need_x else None            # Σ_i a_ij g_i
        grad_value = _sddmm(ctx.A, grad, x) if need_value else None                  # ⟨g_i, x_j⟩
        return grad_x, grad_value, None


class _SDDMM(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, A):
        ctx.A = A
        ctx.save_for_backward(q, k)
        return _sddmm(A, q, k)

    @staticmethod
    def backward(ctx, grad):
        q, k = ctx.saved_tensors
        need_q, need_k, _ = ctx.needs_input_grad
        grad_q = _spmm(ctx.A, k, grad) if need_q else None                           # Σ_j g_ij k_j
        grad_k = _spmm_transposed(ctx.A, q, grad) if need_k else None                # Σ_i g_ij q_i
        return grad_q, grad_k, None


class _EdgeAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, v, A):
        ctx.A = A
        return _edge_add(A, u, v)

    @staticmethod
    def backward(ctx, grad):
        return segment_reduce(ctx.A, grad, "sum"), _sum_by_source(ctx.A, grad), None


class _EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, s, A):
        alpha = _softmax(A, s)
        ctx.A = A
        ctx.save_for_backward(alpha)
        return alpha

    @staticmethod
    def backward(ctx, grad):
        (alpha,) = ctx.saved_tensors
        return _softmax_backward(ctx.A, alpha, grad), None
