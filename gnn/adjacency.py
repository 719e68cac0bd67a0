"""The adjacency that every message travels on, and what is made of one: normalised, stacked, with self-loops."""
from __future__ import annotations

from functools import cached_property

import torch
from scipy import sparse
from torch import Tensor


class Adj:
    """A sparse (N_dst, N_src) matrix of edges, stored by destination (compressed sparse rows, CSR).

    ptr    (N_dst + 1,) int32   the edges into node i are ptr[i] .. ptr[i + 1] - 1
    col    (E,) int32           their source nodes
    value  (E,) float or None   their weights a_ij; None means all ones
    shape  (N_dst, N_src)

    Example: node 0 hears nodes 1 and 2, node 1 hears node 0:

        Adj.from_edges(dst=[0, 0, 1], src=[1, 2, 0], shape=(2, 3))

              from 0  1  2
        to 0     [ 0  1  1 ]        ptr  0 2 3        edges 0 and 1 go into node 0, edge 2 into node 1
        to 1     [ 1  0  0 ]        col  1 2 0        where they come from

    `row_degree` and `col_degree` are the weighted degrees that the normalisations divide by. They default to the sums
    of `value`. A sampled block (sampling/neighbors.py) sets them to the degrees of the full graph, and `row_scale` to
    the number of neighbours that each sampled one stands for. All three may be given as functions, called when first
    needed.
    """

    def __init__(self, ptr: Tensor, col: Tensor, shape: tuple[int, int], value: Tensor | None = None,
                 row_degree=None, col_degree=None, row_scale=None):
        assert ptr.numel() == shape[0] + 1, f"ptr of {ptr.numel()} entries for {shape[0]} destination rows"
        self.ptr, self.col, self.shape, self.value = ptr, col, shape, value
        self._row_degree, self._col_degree, self._row_scale = row_degree, col_degree, row_scale
        self._pattern = Pattern(ptr, col, shape)                # what follows from the edges alone
        self._kept = {}                                         # what follows from their weights too, made once

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

    @classmethod
    def _on(cls, pattern: Pattern, value: Tensor | None = None, row_degree=None, col_degree=None) -> Adj:
        """The edges of a pattern, whose row ids and transpose are shared with every other adjacency on it."""
        A = cls(pattern.ptr, pattern.col, pattern.shape, value, row_degree, col_degree)
        A._pattern = pattern
        return A

    @property
    def num_edges(self) -> int:
        return self.col.numel()

    @property
    def device(self) -> torch.device:
        return self.col.device

    @property
    def row(self) -> Tensor:
        """Destination of every edge, (E,) int32."""
        return self._pattern.row

    def edges_into(self, node: int) -> slice:
        """Where the edges into a node lie in `col` and `value`."""
        return slice(int(self.ptr[node]), int(self.ptr[node + 1]))

    @property
    def T(self) -> Adj:
        """The reverse relation, (N_src, N_dst), with the same weights: one structure, built once; A.T.T is A."""
        if "T" not in self._kept:
            back, perm = self._pattern.transpose
            value = None if self.value is None else self.value[perm]
            self._kept["T"] = Adj._on(back, value, self._col_degree, self._row_degree)
            self._kept["T"]._kept["T"] = self
        return self._kept["T"]

    @property
    def perm(self) -> Tensor:
        """Edge e of the transpose is edge perm[e] of this adjacency, (E,) int64: A.T.value is A.value[A.perm]."""
        return self._pattern.transpose[1]

    @property
    def row_degree(self) -> Tensor:
        """d_i = Σ_j a_ij, (N_dst,) float64."""
        if self._row_degree is None:
            self._row_degree = (self.ptr.diff().double() if self.value is None
                                else segment_reduce(self, self.value.detach().double(), "sum"))
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
        return Adj._on(self._pattern, value)

    def trim(self, rows: int, cols: int) -> Adj:
        """The first `rows` destinations and `cols` sources, with the degrees they have here: what a later layer of a
        sampled batch needs of an earlier one. Every source of those destinations must be among the first `cols`."""
        edges = int(self.ptr[rows])
        value = None if self.value is None else self.value[:edges]
        return Adj(self.ptr[:rows + 1], self.col[:edges], (rows, cols), value,
                   lambda: self.row_degree[:rows], lambda: self.col_degree[:cols],
                   None if self._row_scale is None else lambda: self.row_scale[:rows])

    def take(self, rows: Tensor) -> Adj:
        """The destinations `rows` (n,) in their order, repeats allowed: (n, N_src), with their values."""
        count = self.ptr.diff()[rows]
        ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        shift = torch.repeat_interleave(self.ptr[:-1][rows] - ptr[:-1], count)
        edges = shift + torch.arange(len(shift), device=self.device)
        value = None if self.value is None else self.value[edges]
        return Adj(ptr.int(), self.col[edges], (len(rows), self.shape[1]), value)

    def to(self, device) -> Adj:
        """The adjacency of a whole graph on a device; blocks are made where their graph is."""
        if same_device(self.device, device):
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


def same_device(a: torch.device | str, b: torch.device | str) -> bool:
    """Whether two names are of one device: "cuda" is the CUDA device that is current."""
    a, b = torch.device(a), torch.device(b)
    if a == b or a.type != b.type:
        return a == b
    current = torch.cuda.current_device() if a.type == "cuda" else 0
    return (current if a.index is None else a.index) == (current if b.index is None else b.index)


# ---- what is made of adjacencies -------------------------------------------------------------------------------------

def normalize_row(A: Adj, dtype: torch.dtype = torch.float32) -> Adj:
    """a_ij / d_i: rows sum to one, so that spmm is the (weighted) mean of the neighbours.

    Computed in float64, stored as `dtype`, once per adjacency: the full graph pays for it in the first step only.
    """
    key = ("row", dtype)
    if key not in A._kept:
        A._kept[key] = _scaled(A, _power(A.row_degree, -1.0), None, dtype)
    return A._kept[key]


def normalize_sym(A: Adj, exponent: float = 0.5, loops: float = 0.0, dtype: torch.dtype = torch.float32) -> Adj:
    """a_ij (d_i + loops)^-c (d_j + loops)^-c with c = `exponent`. Computed in float64, once, as `normalize_row`.

    c = ½ is D^-½ A D^-½ (Kipf & Welling 2017, eq. 2, arXiv:1609.02907). `loops` = 1 counts a self-loop in every
    degree; the loop's own term, x_i / (d_i + 1), is left to the model.
    """
    key = ("sym", exponent, loops, dtype)
    if key not in A._kept:
        left, right = _power(A.row_degree + loops, -exponent), _power(A.col_degree + loops, -exponent)
        A._kept[key] = _scaled(A, left, right, dtype)
    return A._kept[key]


def hstack(parts: list[Adj]) -> Adj:
    """[A₁ A₂ …]: several relations into the same nodes as one adjacency (N_dst, Σ N_src), without weights.

    Its sources are the sources of the first part, then those of the second, and so on, so that one softmax runs over
    all relations together; their vectors must be stacked in the same order. Built once for the same parts.
    """
    if len(parts) == 1:
        return parts[0].with_value(None)
    key = ("hstack", *(id(part) for part in parts[1:]))
    if key not in parts[0]._kept:
        starts = [0] + torch.tensor([part.shape[1] for part in parts]).cumsum(0).tolist()
        stacked = _by_row([part.row for part in parts], [part.col + start for part, start in zip(parts, starts)],
                          (parts[0].shape[0], starts[-1]))
        parts[0]._kept[key] = stacked, parts[1:]            # the parts stay alive, so their ids stay theirs
    return parts[0]._kept[key][0]


def add_self_loops(A: Adj) -> Adj:
    """A + I without weights: every destination, which is also source row i, sends to itself. Built once per A.

    Edges that already join a node to itself are kept single.
    """
    if "loops" not in A._kept:
        own = torch.arange(A.shape[0], dtype=torch.int32, device=A.device)
        other = A.row != A.col
        A._kept["loops"] = _by_row([own, A.row[other]], [own, A.col[other]], A.shape)
    return A._kept["loops"]


def segment_reduce(A: Adj, s: Tensor, how: str) -> Tensor:
    """"sum" or "max" of the values on the edges into each node, without gradient.
    s: (E,) → (N_dst,), or with heads (H, E) → (H, N_dst)."""
    if s.dim() == 2:
        return torch.stack([segment_reduce(A, head, how) for head in s])
    return torch.segment_reduce(s.contiguous(), how, offsets=A._pattern.offsets, initial=0 if how == "sum" else None)


# ---- how it is made --------------------------------------------------------------------------------------------------

class Pattern:
    """Where the edges of an adjacency lie, whatever they weigh. Every weighting of the same edges shares one pattern,
    and a pattern and its transpose know each other, so that neither is built twice:

              A                      ptr  0 2 3          A.T                 ptr  0 1 2 3
              from 0  1  2           row  0 0 1          from 0  1           row  0 1 2
        to 0     [ ·  a  b ]         col  1 2 0       to 0 [  ·  c ]         col  1 0 0
        to 1     [ c  ·  · ]       value  a b c       to 1 [  a  · ]       value  c a b
                                                      to 2 [  b  · ]

    Edges are numbered row by row, so A's are a, b, c and those of A.T are c, a, b. The sources of A in order are
    col[perm] with perm = 2 0 1, which makes them the rows of A.T; its sources are row[perm] = 1 0 0 and its weights
    value[perm] = c a b. The way back is the inverse permutation, 1 2 0.
    """

    def __init__(self, ptr: Tensor, col: Tensor, shape: tuple[int, int]):
        self.ptr, self.col, self.shape = ptr, col, shape

    @cached_property
    def row(self) -> Tensor:
        """Destination of every edge, (E,) int32."""
        rows = torch.arange(self.shape[0], dtype=torch.int32, device=self.col.device)
        return torch.repeat_interleave(rows, self.ptr.diff(), output_size=self.col.numel())

    @cached_property
    def offsets(self) -> Tensor:
        """`ptr` as int64, (N_dst + 1,), which torch.segment_reduce asks for."""
        return self.ptr.long()

    @cached_property
    def transpose(self) -> tuple[Pattern, Tensor]:
        """The reverse pattern, and perm (E,) int64: edge e there is edge perm[e] here."""
        source, perm = self.col.sort(stable=True)
        inverse = torch.empty_like(perm)
        inverse[perm] = torch.arange(perm.numel(), device=perm.device)
        back = Pattern(_ptr_of(source, self.shape[1]), self.row[perm], self.shape[::-1])
        back.row, back.transpose = source, (self, inverse)              # known here, so not worked out again there
        return back, perm


def _by_row(rows: list[Tensor], cols: list[Tensor], shape: tuple[int, int]) -> Adj:
    """Edges in several pieces, none repeated → an unweighted adjacency; each row in the order of the pieces."""
    row, order = torch.cat(rows).sort(stable=True)
    A = Adj(_ptr_of(row, shape[0]), torch.cat(cols)[order], shape)
    A._pattern.row = row
    return A


def _ptr_of(ids: Tensor, size: int) -> Tensor:
    ptr = torch.zeros(size + 1, dtype=torch.int64, device=ids.device)
    ptr[1:] = torch.bincount(ids, minlength=size).cumsum(0)
    return ptr.int()


def _called(value):
    return value() if callable(value) else value


def _power(degree: Tensor, exponent: float) -> Tensor:
    """degree^exponent, and 0 for degree 0: an isolated node receives nothing."""
    return torch.where(degree > 0, degree.clamp(min=1e-12) ** exponent, 0.0)


def _scaled(A: Adj, left: Tensor, right: Tensor | None, dtype: torch.dtype) -> Adj:
    """A with the weights left_i a_ij right_j; in a sampled block every edge counts for the d_i / k_i it stands for."""
    if A.row_scale is not None:
        left = left * A.row_scale
    value = left.index_select(0, A.row)
    if right is not None:
        value *= right.index_select(0, A.col)
    if A.value is not None:
        value *= A.value.detach()
    return A.with_value(value.to(dtype))
