"""How long does it take to rank the whole catalogue for everybody, and how much of that is unavoidable?

    python benchmarks/evaluation.py --data PATH [--rows 4096] [--repeats 5]

One thread, random embeddings of 64 features; catalogue, known and held-out tracks are those of the data. The rivals
take turns in one process on the first --rows playlists that have held-out tracks; seconds are scaled up to all.
Lists: the top 300 by torch.topk after one matrix product a chunk, by implicit's C++ where it is installed, and ours.
Metrics: with our lists, and by counting the places of the held-out tracks. Floors: the matrix product in tiles, and the
selection from scores at hand. Writes benchmarks/results/evaluation-<name of the data>.json.
"""
from __future__ import annotations

from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_matrix

from harness import against, arguments, at_most, name_of, save, take_turns
from common import cli
import mpd
from mpd.split import make_split
from ranking.protocol import Part, dot_scores, measure
from ranking.topk import CHUNK, mask_known, rank, topk

DIM, K = 64, 300
# how many times as long others may take at least, with artists and albums in the data, and with links alone (Gowalla)
LISTS = {True: {"torch.topk": 1.7, "implicit": 1.7}, False: {"torch.topk": 1.4, "implicit": 1.2}}
COUNTED = {True: {"torch.topk": 2.8}, False: {}}
FLOOR, WHOLE = 1.6, 1.6 * 6.2           # whole ÷ (product + selection); seconds of one core for Gowalla


def plain_topk(playlists, columns, known, ids) -> None:
    for chunk in ids.split(256):
        mask_known(playlists[chunk] @ columns, chunk, known).topk(K)


def implicit_topk(playlists, tracks, known, ids):
    """implicit's ranking as a closure; None where it is not installed."""
    try:
        from implicit.cpu.topk import topk as theirs
    except ImportError:
        return None
    ones = np.ones(len(known.track), np.float32)
    train = csr_matrix((ones, known.track.numpy(), known.ptr.numpy()), (len(playlists), len(tracks)))
    queries, items, seen = playlists[ids].numpy(), tracks.numpy(), train[ids.numpy()]
    return lambda: theirs(items, queries, K, filter_query_items=seen, num_threads=1)


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--rows", type=int, default=4096, help="playlists to rank")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cli.keep_freed_memory()                                     # as every script does
    data = mpd.load(args.data)
    split = make_split(data, shares=(0.8, 0.1, 0.1) if data.own_test is None else (1, 0, 0))
    part = Part(split.train, split.test, split.given_test, data.num_playlists, data.num_tracks)
    playlists, tracks = torch.randn(data.num_playlists, DIM), torch.randn(data.num_tracks, DIM)
    columns, score = tracks.t().contiguous(), dot_scores(playlists, tracks)
    everyone = part.held[0].unique()
    ids = everyone[:args.rows]
    held = tuple(side[torch.isin(part.held[0], ids)] for side in part.held)
    metrics = partial(measure, score, held, part.known, part.counts, [10, K])
    scores = mask_known(score(ids[:CHUNK]), ids[:CHUNK], part.known)

    def product():
        for chunk in ids.split(CHUNK):
            score(chunk)

    def selection():
        for chunk in ids.split(CHUNK):
            topk(scores[:len(chunk)], K)
    rivals = {"torch.topk": partial(plain_topk, playlists, columns, part.known, ids),
              "lists": partial(rank, score, ids, part.known, K), "metrics with lists": metrics,
              "metrics, counted": partial(metrics, lists=False), "product": product, "selection": selection}
    theirs = implicit_topk(playlists, tracks, part.known, ids)
    if theirs is not None:
        rivals["implicit"] = theirs
    ms = {name: time * len(everyone) / len(ids) for name, time in take_turns(rivals, args.repeats, warm_up=1).items()}
    kind = data.num_artists > 0
    print(f"{len(everyone):,} playlists × {data.num_tracks:,} tracks, {len(part.held[0]):,} held out")
    for name, time in ms.items():
        print(f"{name:20} {time / 1000:6.2f} s")
    others = {name: ms[name] for name in ("torch.topk", "implicit") if name in ms}
    ratios = against(f"lists of {K}", ms["lists"], others, LISTS[kind])
    ratios += against("metrics, counted", ms["metrics, counted"], others | {"with lists": ms["metrics with lists"]},
                      COUNTED[kind])
    floor = [at_most("lists ÷ (product + selection)", ms["lists"] / (ms["product"] + ms["selection"]), FLOOR, "times")]
    if not kind:
        floor.append(at_most("lists, one core", ms["lists"] / 1000, WHOLE, "s"))
    numbers = {"playlists": len(everyone), "tracks": data.num_tracks, "ms": ms, "ratios": ratios, "floor": floor}
    save(f"evaluation-{name_of(args.data)}", numbers)
    return numbers


if __name__ == "__main__":
    main()
