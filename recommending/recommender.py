"""Recommendations from a trained run, for scripts and notebooks.

    from recommending import Recommender
    music = Recommender.load()                                     # the newest run
    for track in music.from_seeds(["Velvet Harbor", "Neon Sailor"], n=5):
        print(track.title, track.artist, track.score)
"""
from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from gnn.readout import score_tables
from gnn.sparse import Adj
from mpd.split import joined
from ranking.topk import chunk_for, topk
from recommending.explain import Explanation, attend, attention, paths, playlist_parts, seed_parts
from recommending.lookup import find_artist, find_playlist, find_track, words
from recommending.rerank import penalised, within_cap
from training.trained import Trained

ORDER = 1.0                     # recency for runs blind to order: a new playlist's last songs count more, mildly
TITLED = 100                    # playlists that a title is taken from: those whose titles are most like it


class Recommendation(NamedTuple):
    """score: the model's, before any penalty; popularity: playlists of the training data that hold the track."""
    track: int
    uri: str
    title: str
    artist: str
    score: float
    popularity: int


class Similar(NamedTuple):
    """similarity: the cosine of the embeddings."""
    index: int
    uri: str
    name: str
    similarity: float


class Recommender:
    """A trained run that answers. A playlist is an index, its pid or its name where a method says so; a track is an
    index, a URI, or words of its title and artist. Methods raise InputError for what cannot be found or told apart.

    run: the opened run; as_trained: see every playlist as training did. Its held-out tracks are unknown then, and may
    be recommended, and order counts only if it did in the run. Otherwise all that the data say it holds counts, the
    last tracks more, and is never recommended.
    """

    def __init__(self, run: Trained, as_trained: bool = False):
        self.run, self.playlists = run, run.playlists
        given = run.held_out("given_val", "given_test")
        hidden = () if as_trained else run.held_out("val", "test")
        recency = run.settings.recency or (0.0 if as_trained else ORDER)
        self.readout = run.read_out(recency, "cpu")                     # lists are made on the CPU, wherever z was
        self._pairs = joined(run.train, *given, *hidden)
        self.shown = run.places(self._pairs)                                                    # (P, T)
        self.counts = torch.bincount(torch.from_numpy(run.train.track).long(), minlength=run.playlists.num_tracks)
        self._trained = self.readout.shown.ptr.diff() > 0                                  # (P,)
        self.columns = self.readout.tracks.t().contiguous()                                # (D, T)

    @classmethod
    def load(cls, folder: str | Path | None = None, as_trained: bool = False, device: str = "cpu") -> Recommender:
        """Open a run folder, by default the newest. Raises InputError if it is no complete run."""
        return cls(Trained(folder, device), as_trained)

    # ---- one list ----------------------------------------------------------------------------------------------------

    def complete(self, playlist: int | str, n: int = 10, popularity_penalty: float = 0.0,
                 artist_cap: int | None = None) -> list[Recommendation]:
        """What continues a playlist of the data: pid (int or text) or name. The list is shorter than n where the
        catalogue has fewer tracks that the playlist does not hold."""
        row = self.playlist(playlist)
        return self._best(self.vectors[row], self.shown.take(torch.tensor([row])), n, popularity_penalty, artist_cap)

    def from_seeds(self, tracks: Sequence[int | str], n: int = 10, popularity_penalty: float = 0.0,
                   artist_cap: int | None = None) -> list[Recommendation]:
        """What continues a playlist that training never saw, by its tracks in order: it is folded in (gnn/readout.py).
        Raises InputError for no tracks at all."""
        given = self.holding([self._seeds(tracks)])
        return self._best(self.fold_in(given)[0], given, n, popularity_penalty, artist_cap)

    def from_title(self, title: str, n: int = 10, popularity_penalty: float = 0.0,
                   artist_cap: int | None = None) -> list[Recommendation]:
        """What suits a title alone. Raises InputError if no playlist of the data shares a word with it."""
        vector = self.titled(title)
        if vector is None:
            raise InputError(f"title {title!r}: no playlist of these data shares a word with it; give some tracks")
        return self._best(vector, self.holding([[]]), n, popularity_penalty, artist_cap)

    def explain(self, track: int | str, playlist: int | str | None = None,
                seeds: Sequence[int | str] | None = None) -> Explanation:
        """Why a track is (or is not) recommended for a playlist of the data, or for seeds."""
        t = self.track(track)
        if (playlist is None) == (seeds is None):
            raise InputError("explain: give either a playlist or seeds")
        row = None if playlist is None else self.playlist(playlist)
        given = self.holding([self._seeds(seeds)]) if row is None else self.shown.take(torch.tensor([row]))
        if row is not None and self._trained[row]:
            vector, parts = self.vectors[row], playlist_parts(self.run, self.readout, row, given, t)
        else:
            vector, parts = self.fold_in(given)[0], seed_parts(self.readout, given, t)
        return Explanation(t, float(vector @ self.columns[:, t]), parts, paths(self.run.graph, given.col.tolist(), t),
                           attention(self.run, self._attended, "track", t))

    def similar(self, track: int | str, n: int = 10) -> list[Similar]:
        """The tracks nearest to a track."""
        tracks, p = self.run.embeddings["track"], self.playlists
        return [Similar(i, p.track_uris[i], " – ".join(filter(None, self.name(i))), cosine)
                for i, cosine in _nearest(tracks, self.track(track), n)]

    def similar_artists(self, artist: str, n: int = 10) -> list[Similar]:
        """The artists nearest to an artist; without artists in the graph, by the mean of their tracks."""
        p = self.playlists
        if not p.num_artists:
            raise InputError("similar artists: these data have no artists; ask for similar tracks")
        vectors = self.run.embeddings.get("artist")
        if vectors is None:
            owner = torch.from_numpy(p.track_artist).long()
            vectors = torch.zeros(p.num_artists, len(self.columns))
            vectors.index_add_(0, owner[owner >= 0], self.run.embeddings["track"].cpu()[owner >= 0])
        return [Similar(i, p.artist_uris[i], p.artist_names[i], s)
                for i, s in _nearest(vectors, find_artist(p, artist), n)]

    # ---- many lists --------------------------------------------------------------------------------------------------

    def in_bulk(self, vectors: Tensor, held: Adj, n: int, popularity_penalty: float = 0.0,
                artist_cap: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Lists for vectors (B, D) of playlists that hold `held` (B, T), a chunk at a time: track ids and scores
        (b, n). An id of −1 ends a list for which there are no more tracks."""
        for rows in torch.arange(len(vectors)).split(chunk_for(self.columns.shape[1])):
            yield self._ranked(vectors[rows], held.take(rows), n, popularity_penalty, artist_cap)

    def _ranked(self, vectors: Tensor, held: Adj, n: int, penalty: float, cap: int | None) -> tuple[Tensor, Tensor]:
        for value, name in ((n, "n"), (cap, "artist-cap")):
            if value is not None and value < 1:
                raise InputError(f"--{name} {value}: must be at least 1")
        if not math.isfinite(penalty):
            raise InputError(f"--popularity-penalty {penalty}: must be a number")
        scores = vectors @ self.columns                                                         # (b, T)
        by = penalised(scores, self.counts, penalty)
        by[held.row.long(), held.col.long()] = -torch.inf
        n = depth = min(n, scores.shape[1])
        while True:
            value, track = topk(by, depth)
            stays = value > -torch.inf
            if cap is not None:
                stays &= within_cap(track, torch.from_numpy(self.playlists.track_artist).long(), cap)
            if depth == scores.shape[1] or (stays.sum(1) >= n).all():
                break
            depth = min(4 * depth, scores.shape[1])                     # the cap took too many: look further down
        first = torch.argsort(~stays, dim=1, stable=True)[:, :n]                            # those that stay, in order
        value, track, stays = (table.gather(1, first) for table in (value, track, stays))
        return track.where(stays, -1), scores.gather(1, track) if penalty else value

    def _best(self, vector: Tensor, held: Adj, n: int, penalty: float, cap: int | None) -> list[Recommendation]:
        tracks, scores = self._ranked(vector.unsqueeze(0), held, n, penalty, cap)
        p = self.playlists
        return [Recommendation(t, p.track_uris[t], *self.name(t), score, int(self.counts[t]))
                for t, score in zip(tracks[0].tolist(), scores[0].tolist()) if t >= 0]

    # ---- playlists as vectors ----------------------------------------------------------------------------------------

    @cached_property
    def vectors(self) -> Tensor:
        """(P, D): every playlist of the data, continued from what it holds."""
        new = ~self._trained[self._pairs.playlist].numpy()
        return score_tables(self.readout, self.run.places(self._pairs[new]), self.shown)[0]

    @cached_property
    def _attended(self) -> list[dict]:
        """One pass serves every explanation."""
        return attend(self.run)

    def holding(self, playlists: Sequence[Sequence[int]]) -> Adj:
        """Tracks of B playlists in order, each once → (B, T), valued by their places in (0, 1]."""
        row = [b for b, tracks in enumerate(playlists) for _ in tracks]
        place = [(i + 1) / len(tracks) for tracks in playlists for i in range(len(tracks))]
        col = [t for tracks in playlists for t in tracks]
        return Adj.from_edges(torch.tensor(row, dtype=torch.int64), torch.tensor(col, dtype=torch.int64),
                              (len(playlists), self.playlists.num_tracks), torch.tensor(place, dtype=torch.float32))

    def fold_in(self, given: Adj) -> Tensor:
        """Vectors (B, D) of playlists that training never saw."""
        return self.readout.fold_in(given)

    def titled(self, title: str) -> Tensor | None:
        """The mean vector (D,) of the playlists whose titles are most like this one, by the cosine of their words, rare
        words counting more (idf); None where no title shares a word."""
        holders, idf, norm = self._titles
        found: dict[int, float] = {}
        for word in set(words(title)) & holders.keys():
            for row in holders[word]:
                found[row] = found.get(row, 0.0) + idf[word] ** 2 / norm[row]
        best = sorted(found, key=lambda row: (-found[row], row))[:TITLED]
        if not best:
            return None
        weight = torch.tensor([found[row] for row in best])
        return weight @ self.vectors[best] / weight.sum()

    @cached_property
    def _titles(self) -> tuple[dict[str, list[int]], dict[str, float], dict[int, float]]:
        """word → playlists, word → idf, playlist → length of its vector of words; of the playlists of the training."""
        of = {row: set(words(name)) for row, name in enumerate(self.playlists.playlist_names) if self._trained[row]}
        holders: dict[str, list[int]] = {}
        for row, each in of.items():
            for word in each:
                holders.setdefault(word, []).append(row)
        idf = {word: float(np.log1p(len(of) / len(rows))) for word, rows in holders.items()}
        return holders, idf, {row: sum(idf[word] ** 2 for word in each) ** 0.5 for row, each in of.items()}

    # ---- look-ups ----------------------------------------------------------------------------------------------------

    def playlist(self, which: int | str) -> int:
        """The index of a playlist, by pid or name."""
        return find_playlist(self.playlists, str(which))

    def track(self, which: int | str) -> int:
        """The index of a track, by itself, URI, or words of title and artist; of several URIs of a song the most
        popular."""
        if not isinstance(which, str):
            if not isinstance(which, (int, np.integer)):
                raise InputError(f"track {which!r}: give an index, a URI, or words of title and artist")
            if not 0 <= which < self.playlists.num_tracks:
                raise InputError(f"track {which}: must lie between 0 and {self.playlists.num_tracks - 1}")
            return int(which)
        return find_track(self.playlists, which, self.counts.numpy())

    def _seeds(self, tracks: Sequence[int | str]) -> list[int]:
        found = list(dict.fromkeys(self.track(t) for t in tracks))
        if not found:
            raise InputError("no seeds: give at least one track, or a title")
        return found

    def name(self, track: int) -> tuple[str, str]:
        """Title and artist of a track; "" where the data have none."""
        artist = int(self.playlists.track_artist[track])
        return self.playlists.track_names[track], self.playlists.artist_names[artist] if artist >= 0 else ""


def _nearest(vectors: Tensor, one: int, n: int) -> list[tuple[int, float]]:
    """The n rows of vectors (N, D) nearest to row `one` by cosine, itself left out: (row, cosine)."""
    if n < 1:
        raise InputError(f"--n {n}: must be at least 1")
    if len(vectors) == 1:
        return []
    unit = torch.nn.functional.normalize(vectors.cpu(), dim=1)
    cosine = unit @ unit[one]
    cosine[one] = -torch.inf
    value, index = topk(cosine.unsqueeze(0), min(n, len(vectors) - 1))
    return list(zip(index[0].tolist(), value[0].tolist()))
