"""Sparse message passing in a handful of operations; every model is written in these and nothing cleverer.

An adjacency `A` has shape (N_dst, N_src) and is stored by destination (CSR): row i lists the nodes j that send
to node i. This is the one orientation of the whole repository. A message is

    spmm(A, x)[i]            = Σ_{j ∈ N(i)} a_ij x_j              weighted neighbour sum
    sddmm(A, q, k)[e]        = ⟨q_i, k_j⟩           for e = (i ← j)   a dot product on every edge
    edge_add(A, u, v)[e]     = u_i + v_j            for e = (i ← j)   a sum on every edge
    edge_softmax(A, s)[e]    = exp s_e / Σ_{e' into i} exp s_e'   softmax over the edges into a node
    normalize_row(A)         : a_ij / d_i                         rows sum to 1, so spmm is a mean
    normalize_sym(A, c)      : a_ij / (d_i^c d_j^c)               c = ½ is the symmetric normalisation of GCN
    hstack([A, B])           : relations side by side             one softmax over all of them
    add_self_loops(A)        : A + I

The first four carry gradients to node features *and* to edge values, and take a leading head dimension H.
Letters: N nodes, E edges, D features, H heads, C = D / H features a head.

How they run. On the CPU spmm is `embedding_bag`, two to four times faster than a sparse matrix product, and sddmm
is `sampled_addmm`; on CUDA both are torch.sparse CSR operations. Autograd never sees a sparse tensor: torch's own
backward for the values of a CSR matrix builds the dense N_dst × N_src gradient first, and its int32 reduce path
returns wrong gradients once N_dst · N_src passes 2³¹. Each backward here is one of the same operations over the
transpose, which is built once per adjacency and shared with its reverse relation.
"""
from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor


class Adj:
    """A sparse (N_dst, N_src) adjacency, stored by destination.

    ptr    (N_dst + 1,) int32   the edges into node i are ptr[i] .. ptr[i + 1] - 1
    col    (E,) int32           their source nodes
    value  (E,) float or None   their weights a_ij; None means all ones
    shape  (N_dst, N_src)

    `row_degree` and `col_degree` are the weighted degrees that the normalisations divide by. They default to the sums
    of `value`. A sampled block sets them to the degrees of the full graph, and `row_scale` to the number of neighbours
    that each sampled one stands for, which makes normalised sums unbiased estimates. All three may be given as
    functions, called when first needed.

    Example: nodes 0 and 1 both send to node 0, node 2 to node 1, with unit weights:
        Adj.from_edges(dst=[0, 0, 1], src=[0, 1, 2], shape=(2, 3))
    """

    def __init__(self, ptr: Tensor, col: Tensor, shape: tuple[int, int], value: Tensor | None = None,
                 row_degree=None, col_degree=None, row_scale=None, pattern: dict | None = None):
        assert ptr.numel() == shape[0] + 1, f"ptr of {ptr.numel()} entries for {shape[0]} destination rows"
        self.ptr, self.col, self.shape, self.value = ptr, col, shape, value
        self._row_degree, self._col_degree, self._row_scale = row_degree, col_degree, row_scale
        self._pattern = {} if pattern is None else pattern      # row ids and transpose: shared by all weightings
        self._weighted = {}                                     # what depends on `value` too

    @classmethod
    def from_edges(cls, dst, src, shape: tuple[int, int], value=None) -> Adj:
        """Sort edges (E,) into an adjacency. Raises ValueError for ids outside `shape` and for repeated edges."""
        dst, src = torch.as_tensor(dst).long(), torch.as_tensor(src).long()
        for name, ids, size in (("dst", dst, shape[0]), ("src", src, shape[1])):
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
                raise ValueError(f"{name} ids run {int(ids.min())}..{int(ids.max())}, shape allows 0..{size - 1}")
        key, order = (dst * shape[1] + src).sort()
        if bool((key[1:] == key[:-1]).any()):
            raise ValueError("repeated edges: an adjacency holds every (destination, source) pair at most once")
        value = None if value is None else torch.as_tensor(value)[order].contiguous()
        return cls(_ptr_of(dst, shape[0]), src[order].int(), shape, value)

    @property
    def num_edges(self) -> int:
        return self.col.numel()

    @property
    def device(self) -> torch.device:
        return self.col.device

    @property
    def row(self) -> Tensor:
        """Destination of every edge, (E,) int32."""
        if "row" not in self._pattern:
            rows = torch.arange(self.shape[0], dtype=torch.int32, device=self.device)
            self._pattern["row"] = torch.repeat_interleave(rows, self.ptr.diff(), output_size=self.num_edges)
        return self._pattern["row"]

    @property
    def offsets(self) -> Tensor:
        """`ptr` as int64, (N_dst + 1,), which segment_reduce asks for."""
        if "offsets" not in self._pattern:
            self._pattern["offsets"] = self.ptr.long()
        return self._pattern["offsets"]

    @property
    def perm(self) -> Tensor:
        """Edge e of the transpose is edge perm[e] of this adjacency, (E,) int64."""
        return self._transpose()[1]

    def _transpose(self) -> tuple[Adj, Tensor]:
        if "transpose" not in self._pattern:
            source, perm = self.col.sort(stable=True)
            inverse = torch.empty_like(perm)
            inverse[perm] = torch.arange(perm.numel(), device=self.device)
            bare = Adj(self.ptr, self.col, self.shape, pattern=self._pattern)
            back = Adj(_ptr_of(source, self.shape[1]), self.row[perm], self.shape[::-1],
                       pattern={"row": source, "transpose": (bare, inverse)})
            self._pattern["transpose"] = back, perm
        return self._pattern["transpose"]

    @property
    def T(self) -> Adj:
        """The reverse relation, (N_src, N_dst): one structure, built once, so A.T.T shares everything with A."""
        if "T" not in self._weighted:
            back, perm = self._transpose()
            value = None if self.value is None else self.value[perm]
            self._weighted["T"] = Adj(back.ptr, back.col, back.shape, value, self._col_degree, self._row_degree,
                                      pattern=back._pattern)
            self._weighted["T"]._weighted["T"] = self
        return self._weighted["T"]

    @property
    def row_degree(self) -> Tensor:
        """d_i = Σ_j a_ij, (N_dst,) float64."""
        if self._row_degree is None:
            self._row_degree = (self.ptr.diff().double() if self.value is None
                                else segment_sum(self, self.value.detach().double()))
        self._row_degree = _called(self._row_degree)
        return self._row_degree

    @property
    def col_degree(self) -> Tensor:
        """d_j = Σ_i a_ij, (N_src,) float64."""
        if self._col_degree is None:
            self._col_degree = self.T.row_degree
        self._col_degree = _called(self._col_degree)
        return self._col_degree

    @property
    def row_scale(self) -> Tensor | None:
        """In a sampled block, d_i / k_i of a node that drew k_i of its d_i neighbours, (N_dst,); else None."""
        self._row_scale = _called(self._row_scale)
        return self._row_scale

    def with_value(self, value: Tensor | None) -> Adj:
        """The same edges with other weights (E,); row ids and transpose are shared, degrees are those of `value`."""
        return Adj(self.ptr, self.col, self.shape, value, pattern=self._pattern)

    def head(self, rows: int, cols: int) -> Adj:
        """The first `rows` destinations and `cols` sources, with the degrees they have here: a trimmed layer. Every
        source of those destinations must be among the first `cols`."""
        edges = int(self.ptr[rows])
        value = None if self.value is None else self.value[:edges]
        return Adj(self.ptr[:rows + 1], self.col[:edges], (rows, cols), value,
                   lambda: self.row_degree[:rows], lambda: self.col_degree[:cols],
                   None if self._row_scale is None else lambda: self.row_scale[:rows])

    def take(self, rows: Tensor) -> Adj:
        """The given destinations (n,) in their order, repeats allowed: (n, N_src), with their values."""
        count = self.ptr.diff()[rows]
        ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        shift = torch.repeat_interleave(self.ptr[:-1][rows] - ptr[:-1], count)
        edges = shift + torch.arange(len(shift), device=self.device)
        return Adj(ptr.int(), self.col[edges], (len(rows), self.shape[1]), None if self.value is None else self.value[edges])

    def to(self, device) -> Adj:
        """The adjacency of a whole graph on a device; blocks are made where their graph is."""
        if self.device == torch.device(device):
            return self
        def move(tensor):
            return None if tensor is None else tensor.to(device)
        return Adj(move(self.ptr), move(self.col), self.shape, move(self.value))

    def scipy(self) -> sparse.csr_matrix:
        """The same matrix for numpy and scipy, float32."""
        value = torch.ones(self.num_edges) if self.value is None else self.value
        return sparse.csr_matrix((value.float().numpy(), self.col.numpy(), self.ptr.numpy()), shape=self.shape)

    def dense(self) -> Tensor:
        """The (N_dst, N_src) matrix, for tests and small pictures."""
        out = torch.zeros(self.shape, dtype=torch.float32 if self.value is None else self.value.dtype)
        out[self.row.long().cpu(), self.col.long().cpu()] = 1.0 if self.value is None else self.value.detach().cpu()
        return out

    def __repr__(self) -> str:
        return f"Adj({self.shape[0]} × {self.shape[1]}, {self.num_edges} edges)"


def _by_row(rows: list[Tensor], cols: list[Tensor], shape: tuple[int, int]) -> Adj:
    """Edges in several pieces, none repeated → an unweighted adjacency; each row in the order of the pieces."""
    row, order = torch.cat(rows).sort(stable=True)
    return Adj(_ptr_of(row, shape[0]), torch.cat(cols)[order], shape, pattern={"row": row})


def _called(value):
    return value() if callable(value) else value


def _ptr_of(ids: Tensor, size: int) -> Tensor:
    ptr = torch.zeros(size + 1, dtype=torch.int64, device=ids.device)
    ptr[1:] = torch.bincount(ids, minlength=size).cumsum(0)
    return ptr.int()


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
    return _reduce(A, s, "sum")


def first(x: Tensor, rows: int | None) -> Tensor:
    """The first `rows` of x (N, …), a block's destinations among its sources. Where that is all of them, or `rows` is
    None, x itself: on the full graph a slice would cost the backward pass a copy."""
    return x if rows is None or rows == len(x) else x[:rows]


def spmm_linear(A: Adj, x: Tensor, weight: Tensor) -> Tensor:
    """(A x) Wᵀ, multiplied where the relation has fewer nodes.  x (N_src, D), weight (D', D) → (N_dst, D')."""
    if A.shape[0] <= A.shape[1]:
        return F.linear(spmm(A, x), weight)                 # aggregate, then transform N_dst rows
    return spmm(A, F.linear(x, weight))                     # transform N_src rows, then aggregate


def hstack(parts: list[Adj]) -> Adj:
    """[A₁ A₂ …]: several relations into the same nodes as one adjacency (N_dst, Σ N_src), without weights.

    Its sources are the sources of the first part, then those of the second, and so on, so that one softmax runs over
    all relations together. Built once for the same parts.
    """
    if len(parts) == 1:
        return parts[0].with_value(None)
    key = ("hstack", *(id(part) for part in parts[1:]))
    if key not in parts[0]._weighted:
        starts = [0] + torch.tensor([part.shape[1] for part in parts]).cumsum(0).tolist()
        stacked = _by_row([part.row for part in parts], [part.col + start for part, start in zip(parts, starts)],
                          (parts[0].shape[0], starts[-1]))
        parts[0]._weighted[key] = stacked, parts[1:]        # the parts stay alive, so their ids stay theirs
    return parts[0]._weighted[key][0]


def add_self_loops(A: Adj) -> Adj:
    """A + I without weights: every destination, which is also source row i, sends to itself. Built once per A.

    Edges that already join a node to itself are kept single.
    """
    if "loops" not in A._weighted:
        own = torch.arange(A.shape[0], dtype=torch.int32, device=A.device)
        other = A.row != A.col
        A._weighted["loops"] = _by_row([own, A.row[other]], [own, A.col[other]], A.shape)
    return A._weighted["loops"]


def normalize_row(A: Adj, dtype: torch.dtype = torch.float32) -> Adj:
    """a_ij / d_i: rows sum to one, so that spmm is the (weighted) mean of the neighbours.

    Computed in float64, stored as `dtype`, once per adjacency: the full graph pays for it in the first step only.
    """
    key = ("row", dtype)
    if key not in A._weighted:
        A._weighted[key] = _scaled(A, _power(A.row_degree, -1.0), None, dtype)
    return A._weighted[key]


def normalize_sym(A: Adj, exponent: float = 0.5, loops: float = 0.0, dtype: torch.dtype = torch.float32) -> Adj:
    """a_ij (d_i + loops)^-c (d_j + loops)^-c with c = `exponent`. Computed in float64, once, as `normalize_row`.

    c = ½ is D^-½ A D^-½ (Kipf & Welling 2017, eq. 2, arXiv:1609.02907). `loops` = 1 counts a self-loop in every
    degree; the loop's own term, x_i / (d_i + 1), is left to the model.
    """
    key = ("sym", exponent, loops, dtype)
    if key not in A._weighted:
        left, right = _power(A.row_degree + loops, -exponent), _power(A.col_degree + loops, -exponent)
        A._weighted[key] = _scaled(A, left, right, dtype)
    return A._weighted[key]


def _power(degree: Tensor, exponent: float) -> Tensor:
    """degree^exponent, and 0 for degree 0: an isolated node receives nothing."""
    return torch.where(degree > 0, degree.clamp(min=1e-12) ** exponent, 0.0)


def _scaled(A: Adj, left: Tensor, right: Tensor | None, dtype: torch.dtype) -> Adj:
    if A.row_scale is not None:
        left = left * A.row_scale
    value = left.index_select(0, A.row)
    if right is not None:
        value *= right.index_select(0, A.col)
    if A.value is not None:
        value *= A.value.detach()
    return A.with_value(value.to(dtype))


# ---- how they run ----------------------------------------------------------------------------------------------------

def _csr(A: Adj, value: Tensor) -> Tensor:
    with warnings.catch_warnings():                       # torch calls its CSR layout beta, once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return torch.sparse_csr_tensor(A.ptr, A.col, value, A.shape, check_invariants=False)


def _gather_sum(A: Adj, x: Tensor, value: Tensor | None) -> Tensor:
    """spmm without autograd, one head: x (N_src, D), value (E,) or None → (N_dst, D)."""
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


def _reduce(A: Adj, s: Tensor, how: str) -> Tensor:
    if s.dim() == 2:
        return torch.stack([_reduce(A, head, how) for head in s])
    return torch.segment_reduce(s.contiguous(), how, offsets=A.offsets, initial=0 if how == "sum" else None)


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
    alpha = _reduce(A, s, "max").index_select(0, A.row)
    torch.sub(s, alpha, out=alpha).exp_()
    return alpha.div_(_reduce(A, alpha, "sum").index_select(0, A.row))


def _softmax_backward(A: Adj, alpha: Tensor, grad: Tensor) -> Tensor:
    """∂s_e = α_e (g_e − Σ_{e'} α_e' g_e')."""
    if alpha.dim() == 2:
        return _per_head(_softmax_backward)(A, alpha, grad)
    mean = _reduce(A, alpha * grad, "sum").index_select(0, A.row)
    return torch.sub(grad, mean, out=mean).mul_(alpha)


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
        return _reduce(ctx.A, grad, "sum"), _sum_by_source(ctx.A, grad), None


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
