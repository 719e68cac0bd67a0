"""Six classic recommenders on one matrix, so that graph networks are judged by the same table.

    X        (P, T) CSR    what is learnt from: playlists × tracks, and below them, if wanted, one
                           pseudo-playlist per artist and per album (`stack_content`)
    Q        (B, T) CSR    what the queried playlists show: ones, or more for the last tracks (`recency`)
    method.fit(X).score(Q) → (B, T) float32, freshly made
    method.needs(X)          about how many bytes `fit` takes at its peak, X itself apart

A playlist that was never trained on, order and content all pass through these two matrices; no method knows
of them. `BASELINES` holds the tuned settings, `fit_baseline` puts it all together.

Letters: P playlists (rows of X), T tracks, B queried playlists, D factors, n tracks of a playlist.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import cholesky, get_lapack_funcs
from scipy.sparse.linalg import svds
from tqdm import tqdm

from ranking.nearest import kept_bytes, nearest_of_product, power, scaled
from ranking.topk import Score

CHUNK = 1 << 22             # floats gathered at a time by iALS: 16 MB stay near the cache
BLOCK = 256                 # columns that EASE fills at a time
RATE = 8e10                 # multiply-adds a second of one core, for the time that EASE says it will take


# ---- the methods -------------------------------------------------------------------------------------------

@dataclass
class Popularity:
    """s_j = Σ_p x_pj, the same list for every playlist."""

    def fit(self, X: sparse.csr_matrix) -> Popularity:
        self.counts = np.asarray(X.sum(0), dtype=np.float32).ravel()             # (T,)
        return self

    def needs(self, X: sparse.csr_matrix) -> int:
        return 12 * X.shape[1]

    def score(self, Q: sparse.csr_matrix) -> np.ndarray:
        return np.tile(self.counts, (Q.shape[0], 1))                             # (B, T)


@dataclass
class ItemKNN:
    """Tracks that keep the same company.  Sarwar et al., WWW 2001; alpha: Aiolli, RecSys 2013; shrinkage:
    Bell & Koren, KDD 2007.

        c_ij = Σ_p n_p^−idf x_pi x_pj        w_ij = c_ij / (c_ii^alpha c_jj^(1−alpha) + shrink)        s = q W

    n_p: tracks of playlist p. alpha ½ is the cosine; below ½ a popular j is divided by more of its own norm.
    idf lets a long playlist, which says less about each pair in it, count less. Each j keeps its nearest k.
    C is made for a block of j at a time, and what is kept decides what `needs` says (ranking/nearest.py).
    """
    k: int
    shrink: float
    alpha: float
    idf: float

    def fit(self, X: sparse.csr_matrix) -> ItemKNN:
        X = scaled(X, rows=power(np.diff(X.indptr), -self.idf / 2))
        norm = np.zeros(X.shape[1], X.dtype)
        np.add.at(norm, X.indices, X.data * X.data)                              # c_jj  (T,)
        of_i, of_j = norm ** self.alpha, norm ** (1 - self.alpha)

        def divided(C: sparse.csr_matrix, first: int) -> sparse.coo_matrix:      # a row a track j, C = Cᵀ
            C = C.tocoo()
            C.data /= of_i[C.col] * of_j[C.row + first] + self.shrink
            return C
        self.weights = nearest_of_product(X.T.tocsr(), X, self.k, divided).T.tocsr() # (T, T)
        return self

    def needs(self, X: sparse.csr_matrix) -> int:
        return kept_bytes(X, self.k)

    def score(self, Q: sparse.csr_matrix) -> np.ndarray:
        return _dense(Q @ self.weights)                                          # (B, T)


@dataclass
class RP3Beta:
    """A walk of three steps, playlist → track → playlist → track.  Paudel et al., ACM TiiS 7(1), 2017; with
    beta = 0 P³α, Cooper et al., WWW 2014.

        w_ij = Σ_p (x_pi / Σ_p' x_p'i)^alpha (x_pj / Σ_j' x_pj')^alpha / (Σ_p x_pj)^beta        s = q W

    alpha flattens or sharpens the steps, beta takes the popularity of the end point away. Each i keeps its k
    largest. Deviation: the first step is q itself, neither divided by Σ q nor raised to alpha; with equal
    weights that scales a playlist's scores and leaves their order. W is made for a block of i at a time,
    and what is kept decides what `needs` says (ranking/nearest.py).
    """
    k: int
    alpha: float
    beta: float

    def fit(self, X: sparse.csr_matrix) -> RP3Beta:
        of_playlist, of_track = (np.asarray(X.sum(axis)).ravel() for axis in (1, 0))
        to_track = scaled(X, rows=power(of_playlist, -1)).power(self.alpha)      # (P, T)
        to_playlist = scaled(X, columns=power(of_track, -1)).power(self.alpha).T
        end_point = power(of_track, -self.beta)                                  # (T,)
        self.weights = nearest_of_product(to_playlist.tocsr(), to_track, self.k, # (T, T)
                                          lambda W, first: scaled(W, columns=end_point))
        return self

    def needs(self, X: sparse.csr_matrix) -> int:
        return kept_bytes(X, self.k)

    def score(self, Q: sparse.csr_matrix) -> np.ndarray:
        return _dense(Q @ self.weights)                                          # (B, T)


@dataclass
class EASE:
    """The best linear map from a playlist to itself that may not use a track for itself.  Steck, WWW 2019,
    arXiv:1905.03375, eq. 8.

        min ‖X − X W‖² + reg ‖W‖²,  w_jj = 0        G = (XᵀX + reg I)⁻¹,  w_ij = −g_ij / g_jj  (i ≠ j)
        s = q W

    The cost is one inverse of the smaller side of X, N = min(P, T): N³ multiply-adds. `needs`: 12 N² bytes where
    K is dense before it is made so, and 4 N² + 4 T² for it and W. Gowalla (29,858 × 40,981) took 334 s of one core
    and 10.5 GB.
    """
    reg: float

    def fit(self, X: sparse.csr_matrix) -> EASE:
        self.weights = ease_weights(X, self.reg, dual=X.shape[0] < X.shape[1])   # (T, T)
        return self

    def needs(self, X: sparse.csr_matrix) -> int:
        N, T = min(X.shape), X.shape[1]
        return max(12 * N ** 2, 4 * N ** 2 + 4 * T ** 2)

    def score(self, Q: sparse.csr_matrix) -> np.ndarray:
        return Q.astype(np.float32) @ self.weights                               # (B, T)


def ease_weights(X: sparse.csr_matrix, reg: float, dual: bool, dtype=np.float32) -> np.ndarray:
    """W of EASE, (T, T).

    dual: by a (P, P) inverse instead of a (T, T) one, as  reg G = I − XᵀK⁻¹X,  K = XXᵀ + reg I  (Woodbury).
    """
    X, Xt = X.tocsr().astype(dtype), X.T.tocsr().astype(dtype)
    K = (X @ Xt if dual else Xt @ X).toarray(order="F")                          # (P, P), or (T, T)
    K.flat[::len(K) + 1] += reg
    what = f"ease: inverse of {len(K):,}², about {len(K) ** 3 / RATE:,.0f} s of a core"
    with tqdm(total=2, desc=what, disable=None, leave=False, delay=0 if len(K) > 10_000 else 2) as bar:
        K = cholesky(K, lower=True, overwrite_a=True)                            # its upper half is zero
        bar.update()
        K = get_lapack_funcs("potri", (K,))(K, lower=True, overwrite_c=True)[0]  # lower half of the inverse
    K += np.tril(K, -1).T
    K = K.T                     # the same by symmetry, but in the memory order that sparse products want
    if dual:
        W = np.empty((X.shape[1], X.shape[1]), dtype)
        for j in tqdm(range(0, len(W), BLOCK), "ease: columns", disable=None, leave=False, delay=2):
            tracks = slice(j, j + BLOCK)
            g = Xt @ np.ascontiguousarray((Xt[tracks] @ K).T)                    # columns of XᵀK⁻¹X  (T, b)
            W[:, tracks] = g / (1 - g[tracks].diagonal())
    else:
        W = K / -K.diagonal()
    np.fill_diagonal(W, 0)
    return W


@dataclass
class IALS:
    """Implicit alternating least squares.  Hu, Koren & Volinsky, ICDM 2008, in the form of Rendle et al.
    2021, arXiv:2110.14037, eq. 2.

        min Σ_pj alpha x_pj (1 − u_p·v_j)² + Σ_pj (u_p·v_j)² + reg (Σ_p ‖u_p‖² + Σ_j ‖v_j‖²)
        s = u_q · v

    One side is solved exactly while the other is held; a queried playlist is solved the same way. Gowalla
    takes about half a minute of one core. `needs`: 4 bytes a factor of both sides, and of the larger one 20 more,
    for H, which is computed in float64.
    """
    dim: int
    alpha: float
    reg: float
    sweeps: int
    seed: int = 0

    def fit(self, X: sparse.csr_matrix) -> IALS:
        X, Xt = X.tocsr(), X.T.tocsr()
        generator = torch.Generator().manual_seed(self.seed)
        self.playlists = torch.randn(X.shape[0], self.dim, generator=generator) * 0.1 / self.dim ** 0.5
        for _ in range(self.sweeps):
            self.tracks = self.solve(Xt, self.playlists)                         # (T, D)
            self.playlists = self.solve(X, self.tracks)                          # (P, D)
        return self

    def needs(self, X: sparse.csr_matrix) -> int:
        return self.dim * (4 * sum(X.shape) + 20 * max(X.shape))

    def solve(self, R: sparse.csr_matrix, V: torch.Tensor) -> torch.Tensor:
        """Factors (N, D) of the rows of R (N, M), given those of its columns V (M, D).

            u = (A + V_nᵀ C V_n)⁻¹ V_nᵀ c = H_nᵀ √C (I + √C V_n H_nᵀ √C)⁻¹ √c,   A = VᵀV + reg I, H = V A⁻¹

        V_n (n, D): the rows of V that a row of R names, c = alpha x. The second form solves n × n.
        """
        A = V.double().t() @ V.double() + self.reg * torch.eye(self.dim, dtype=torch.float64)
        H = (V.double() @ torch.linalg.inv(A)).float()                           # (M, D)
        U, A = torch.zeros(R.shape[0], self.dim), A.float()
        length = np.diff(R.indptr)
        order = np.argsort(-length, kind="stable")[:np.count_nonzero(length)]
        while len(order):                         # the longest rows first, in batches of similar length
            n = int(length[order[0]])
            rows, order = np.split(order, [min(len(order), max(1, CHUNK // (n * self.dim)))])
            entry = R.indptr[rows, None] + np.arange(n)
            real = np.arange(n) < length[rows, None]
            entry = np.where(real, entry, 0)                                     # padding; c = 0 disarms it
            column = torch.from_numpy(R.indices[entry]).long()                   # (b, n)
            c = torch.from_numpy((self.alpha * R.data[entry] * real).astype(np.float32)).unsqueeze(2)
            V_n, H_n, root = V[column], H[column], c.sqrt()                      # (b, n, D) twice, (b, n, 1)
            if n < self.dim:
                inner = torch.eye(n) + (root * V_n) @ (root * H_n).mT            # (b, n, n)
                z = torch.cholesky_solve(root, torch.linalg.cholesky(inner))     # (b, n, 1)
                u = (root * H_n).mT @ z                                          # (b, D, 1)
            else:
                inner = A + V_n.mT @ (c * V_n)                                   # (b, D, D)
                u = torch.cholesky_solve(V_n.mT @ c, torch.linalg.cholesky(inner))
            U[rows] = u.squeeze(2)
        return U

    def score(self, Q: sparse.csr_matrix) -> np.ndarray:
        return (self.solve(Q.tocsr(), self.tracks) @ self.tracks.t()).numpy()    # (B, T)


@dataclass
class GFCF:
    """A graph convolution without training: a linear low-pass filter and an ideal one.  Shen et al., CIKM
    2021, arXiv:2108.07567.

        R = D_P^−a X D_T^−b / σ₁        s = q RᵀR + alpha q D_T^−b V Vᵀ D_T^b

    D_P, D_T: weighted degrees of playlists and tracks; a, b: the exponents; V (T, D): the first right
    singular vectors of R, σ₁ its largest singular value. Deviation: the paper has a = b = ½, where σ₁ is 1;
    the division keeps the meaning of alpha elsewhere. `needs`: three tables (P + T, D) of float32, since 2 D + 1
    Lanczos vectors are held for D singular ones, and three copies of R.
    """
    dim: int
    playlist_exponent: float
    track_exponent: float
    alpha: float

    def fit(self, X: sparse.csr_matrix) -> GFCF:
        of_playlist, of_track = (np.asarray(X.sum(axis)).ravel() for axis in (1, 0))
        self.left = power(of_track, -self.track_exponent).astype(np.float32)
        R = scaled(X, power(of_playlist, -self.playlist_exponent), self.left)
        start = np.ones(min(X.shape))                         # a fixed start: the same vectors every time
        _, sigma, V = svds(R, k=min(self.dim, min(X.shape) - 1), v0=start, return_singular_vectors="vh")
        self.R = (R / sigma.max()).astype(np.float32)                            # (P, T)
        self.V = np.ascontiguousarray(V, dtype=np.float32)                       # (D, T)
        self.right = power(of_track, self.track_exponent).astype(np.float32)
        return self

    def needs(self, X: sparse.csr_matrix) -> int:
        return 12 * self.dim * sum(X.shape) + 3 * 8 * X.nnz

    def score(self, Q: sparse.csr_matrix) -> np.ndarray:
        Q = Q.astype(np.float32)
        low = (scaled(Q, columns=self.left) @ self.V.T) @ (self.V * self.right)   # (B, T)
        return _dense((Q @ self.R.T) @ self.R) + np.float32(self.alpha) * low


# ---- content and order -------------------------------------------------------------------------------------

def stack_content(X: sparse.csr_matrix, track_artist: np.ndarray, track_album: np.ndarray,
                  artist_weight: float, album_weight: float) -> sparse.csr_matrix:
    """X (P, T) and below it one row per artist and one per album, their tracks at the given weights.

    track_artist, track_album (T,): −1 = unknown. Only groups of two tracks and more, which say that tracks
    belong together; a weight of 0 adds none. Jeunen, Van Balen & Goethals, RecSys 2020, stack content this
    way in EASE.
    """
    blocks = [X]
    for owner, weight in ((track_artist, artist_weight), (track_album, album_weight)):
        tracks = np.flatnonzero(owner >= 0)
        groups, row, size = np.unique(owner[tracks], return_inverse=True, return_counts=True)
        incidence = sparse.csr_matrix((np.full(len(tracks), weight, np.float32), (row, tracks)),
                                      shape=(len(groups), X.shape[1]))
        if weight > 0 and (size > 1).any():
            blocks.append(incidence[size > 1])
    return sparse.vstack(blocks, format="csr")


def recency(positions: sparse.csr_matrix, rate: float | None, base: float = 0.0) -> sparse.csr_matrix:
    """Weights of a playlist's tracks, base + exp(rate (position − 1)), scaled to a mean of 1 in each row.

    positions (B, T) CSR in (0, 1], 1 for the last track; rate None or 0: all ones, order plays no part. The
    scale matters to iALS alone: it keeps the confidence in a playlist as a whole what it is without order.
    """
    weights = positions.tocsr().copy()
    weights.data = base + np.exp((rate or 0.0) * (weights.data - 1))
    total, length = np.asarray(weights.sum(1)).ravel(), np.diff(weights.indptr)
    return scaled(weights, rows=length * power(total, -1))


# ---- the tuned methods -------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Recipe:
    """A method with what was tuned around it, all on validation (benchmarks/tune_baselines.py)."""
    method: object                                            # its settings without content
    with_content: dict = field(default_factory=dict)          # settings that content changes
    content: tuple[float, float] = (0.0, 0.0)                 # artist_weight, album_weight
    order: tuple[float, float] = (0.0, 0.0)                   # rate, base of `recency`


BASELINES = {
    "popularity": Recipe(Popularity()),
    "item-knn": Recipe(ItemKNN(k=800, shrink=2, alpha=0.4, idf=0.5), {"alpha": 0.6, "idf": 1},
                       content=(0.8, 1.2), order=(20, 0.2)),
    "rp3beta": Recipe(RP3Beta(k=800, alpha=0.3, beta=0.2), {"alpha": 0.4}, content=(0.8, 2.5),
                      order=(20, 0.1)),
    "ease": Recipe(EASE(reg=100), content=(1.0, 2.2), order=(20, 0.4)),
    "ials": Recipe(IALS(dim=256, alpha=10, reg=20, sweeps=5), {"alpha": 30, "reg": 10}, content=(0.4, 3.6),
                   order=(20, 0)),
    "gf-cf": Recipe(GFCF(dim=512, playlist_exponent=0.2, track_exponent=0.3, alpha=0.1),
                    {"playlist_exponent": 0.4, "track_exponent": 0.2}, content=(0.8, 1.2), order=(20, 0.2)),
}


def fit_baseline(name: str, X: sparse.csr_matrix, positions: sparse.csr_matrix, track_artist: np.ndarray,
                 track_album: np.ndarray, content: bool = True, order: bool = True) -> Score:
    """Fit one of `BASELINES` → score function over playlist ids.

    X (P, T) CSR: training entries; positions (P, T) CSR: the places, 1/n … n/n, of the n tracks that a playlist shows
    (mpd.build.shown_tracks), which for one not trained on are its given tracks; track_artist, track_album (T,), −1 for
    unknown; content, order: whether to use them. Scores (B, T) are float32 tensors on the CPU, freshly made.
    """
    method, stacked = _prepared(name, X, track_artist, track_album, content)
    method.fit(stacked)
    shown = recency(positions, *(BASELINES[name].order if order else (None,)))
    return lambda ids: torch.from_numpy(method.score(shown[ids.cpu().numpy()]))


def baseline_needs(name: str, X: sparse.csr_matrix, track_artist: np.ndarray, track_album: np.ndarray,
                   content: bool = True) -> int:
    """About how many bytes `fit_baseline` takes at its peak."""
    method, stacked = _prepared(name, X, track_artist, track_album, content)
    return method.needs(stacked)


def _prepared(name: str, X: sparse.csr_matrix, track_artist: np.ndarray, track_album: np.ndarray, content: bool):
    """A method of `BASELINES` with the settings for what it learns from, and that."""
    recipe = BASELINES[name]
    stacked = stack_content(X, track_artist, track_album, *recipe.content) if content else X
    return replace(recipe.method, **(recipe.with_content if stacked.shape[0] > X.shape[0] else {})), stacked


def _dense(scores: sparse.csr_matrix) -> np.ndarray:
    return scores.toarray().astype(np.float32, copy=False)
