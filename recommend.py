"""Recommend tracks: for a playlist of the data, for a few songs, for a title, for every playlist at once.

    python recommend.py --playlist 7 --explain                            continue a playlist, and say why
    python recommend.py --seeds "Velvet Harbor" "Neon Sailor" --n 20      a playlist that nobody has seen yet
    python recommend.py --all --out recommendations.csv                   every playlist of the data
    python recommend.py --challenge challenge_set.json --out submission.csv.gz

How three songs become a recommendation and a reason: the songs' embeddings, from message passing over the whole graph,
are summed up, later songs counting more (gnn/readout.py: fold-in); that vector times every track's is the score
(recommending/recommender.py); since the sum is linear, each song's share of the score is known
(recommending/explain.py).
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from common import cli
from common.errors import InputError
from common.files import replaced
from ranking.topk import chunk_for
from recommending import Recommendation, Recommender
from recommending.challenge import TRACK_NAMES, TRACKS, URI, check_submission, read_challenge, write_submission
from recommending.explain import Explanation
from recommending.rerank import within_cap

REASONS = 3             # songs, paths and neighbours that an explanation prints

LIST = {"n", "popularity_penalty", "artist_cap", "as_trained"}
MODES = {"playlist": LIST | {"explain"}, "seeds": LIST | {"explain"}, "title": LIST, "all": LIST | {"out"},
         "similar": {"n"}, "similar_artists": {"n"}, "export": set(),        # what is asked for, and the flags it knows
         "challenge": {"out", "check", "team", "email", "track", "popularity_penalty", "artist_cap"}}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="recommend.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", type=Path, help="run folder (default: the newest)")
    what = parser.add_argument_group("what for, one of")
    what = what.add_mutually_exclusive_group(required=True)
    what.add_argument("--playlist", metavar="NAME_OR_PID", help="a playlist of the data; its own tracks are never "
                      "recommended")
    what.add_argument("--seeds", nargs="+", metavar="TRACK", help="a new playlist of these tracks, the last counting "
                      "most: URIs, or words of title and artist")
    what.add_argument("--title", help="a new playlist of which only the title is known")
    what.add_argument("--similar", metavar="TRACK", help="the tracks most like a track")
    what.add_argument("--similar-artists", metavar="ARTIST", help="the artists most like an artist")
    what.add_argument("--all", action="store_true", help="every playlist of the data: pid,rank,track_uri,score into "
                      "--out")
    what.add_argument("--challenge", type=Path, metavar="FILE", help="a RecSys 2018 challenge set: a submission into "
                      "--out, or with --check what is wrong with one")
    what.add_argument("--export", type=Path, metavar="FILE", help="write all embeddings with URIs and names, as .npz "
                      "or .tsv")
    how = parser.add_argument_group("how")
    how.add_argument("--n", type=int, default=10, help="how many tracks (--challenge: always 500)")
    how.add_argument("--popularity-penalty", type=cli.finite, default=0.0, metavar="P", help="weight of popularity "
                     "against the score, both in standard deviations; 0.1 is gentle, 0.5 digs deep, below 0 prefers "
                     "the popular. The score that is shown stays the model's")
    how.add_argument("--artist-cap", type=int, metavar="N", help="at most N tracks of one artist")
    how.add_argument("--explain", action="store_true", help="what each song adds to the score, the paths between them, "
                     "and where the model attends, its attention")
    how.add_argument("--as-trained", action="store_true", help="see playlists as training did: held-out tracks are "
                     "unknown and may be recommended")
    how.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute embeddings")
    out = parser.add_argument_group("files")
    out.add_argument("--out", type=Path, metavar="FILE", help="--all: a .csv; --challenge: a .csv, or .csv.gz")
    out.add_argument("--check", type=Path, metavar="FILE", help="with --challenge: check this submission instead")
    out.add_argument("--team", default="playlist-graphs", help="--challenge: the team's name")
    out.add_argument("--email", default="team@example.org", help="--challenge: the team's e-mail address")
    out.add_argument("--track", choices=TRACK_NAMES, default="main", help="--challenge: which of the two tracks")
    args = parser.parse_args(argv)
    asked = cli.typed(parser, argv)
    (mode,) = asked & MODES.keys()
    for name in sorted(asked - MODES[mode] - {mode, "run", "device"}):
        raise InputError(f"--{name.replace('_', '-')}: means nothing with --{mode.replace('_', '-')}; leave it out")
    if (args.all or args.challenge and not args.check) and args.out is None:
        raise InputError(f"--{'all' if args.all else 'challenge'}: where to? give --out FILE")
    if args.n < 1:
        raise InputError(f"--n {args.n}: must be at least 1")
    if args.artist_cap is not None and args.artist_cap < 1:
        raise InputError(f"--artist-cap {args.artist_cap}: must be at least 1")
    return args


# ---- lists on the screen ---------------------------------------------------------------------------------------------

def shown(tracks: list[Recommendation]) -> str:
    """The list as a table."""
    return cli.table(["#", "title", "artist", "score", "popularity", "uri"],
                     [[i, r.title, r.artist, r.score, r.popularity, r.uri] for i, r in enumerate(tracks, 1)])


def reasons(music: Recommender, why: Explanation) -> list[str]:
    """An explanation in a few lines: the largest parts of the score, the strongest paths, the most attended."""
    p, names = music.playlists, music.playlists.names
    def song(t: int | None) -> str:
        return "the playlist itself" if t is None else repr(p.track_names[t])
    rest = sum(part.value for part in why.parts[REASONS:])
    parts = [f"{part.value:+.3f} {song(part.song)}" for part in why.parts[:REASONS]]
    parts += [f"{rest:+.3f} {len(why.parts) - REASONS} more"] * (len(why.parts) > REASONS)
    lines = [f"score {why.score:.3f} = {'  '.join(parts)}"]
    for path in why.paths[:REASONS]:
        through = f"{path.count} playlists" if path.via == "playlist" and path.count > 1 else \
            f"{path.via} {names[path.via][path.nodes[0]]!r}"
        lines.append(f"{song(path.song)} → {through} → {p.track_names[why.track]!r}")
    if why.attention:
        heard = [f"{a.share:.0%} {a.node_type} {names[a.node_type][a.node]!r}" for a in why.attention[:REASONS]]
        lines.append(f"its attention: {', '.join(heard)} of {len(why.attention)} neighbours")
    return lines


# ---- files -----------------------------------------------------------------------------------------------------------

def write_all(music: Recommender, path: Path, n: int, penalty: float, cap: int | None) -> int:
    """pid,rank,track_uri,score for every playlist of the data that shows a track → how many lines."""
    rows, at_once = (music.shown.ptr.diff() > 0).nonzero().squeeze(1), chunk_for(music.playlists.num_tracks)
    uris, lines = np.array(music.playlists.track_uris.tolist()), 0
    lists = music.in_bulk(music.vectors[rows], music.shown.take(rows), n, penalty, cap)
    with replaced(path) as file:
        file.write("pid,rank,track_uri,score\n")
        for chunk, (tracks, scores) in zip(rows.split(at_once), bar(lists, len(rows), at_once)):
            for pid, track, score in zip(music.playlists.pids[chunk.numpy()], tracks.numpy(), scores.tolist()):
                text = [f"{pid},{rank},{uri},{s:.6g}\n" for rank, (uri, s) in
                        enumerate(zip(uris[track[track >= 0]].tolist(), score), 1)]
                file.write("".join(text))
                lines += len(text)
    return lines


def write_challenge(music: Recommender, source: Path, path: Path, team: str, email: str, track: str, penalty: float,
                    cap: int | None) -> tuple[int, int]:
    """Answer a challenge set: each playlist is folded in by its known tracks; one that shows none is taken by its
    title, and where no title fits by popularity. Returns how many playlists, and how many of them by popularity."""
    tasks, p = read_challenge(source), music.playlists
    index = {uri: t for t, uri in enumerate(p.track_uris)}
    seeds = [list(dict.fromkeys(index[uri] for uri in task.tracks if uri in index)) for task in tasks]
    odd = next((uri for uri in p.track_uris if not URI.fullmatch(uri)), None)
    if odd is not None:
        raise InputError(f"{music.run.folder}: its tracks have no Spotify URIs ({odd[:40]!r}); a submission needs them")
    if p.num_tracks - max(map(len, seeds)) < TRACKS:
        raise InputError(f"{music.run.folder}: its {p.num_tracks:,} tracks are too few; every playlist of a submission "
                         f"needs {TRACKS} that it does not show")
    held = music.holding(seeds)
    vectors, nothing = music.fold_in(held), torch.zeros(len(tasks), dtype=torch.bool)
    for row, task in enumerate(tasks):
        if not seeds[row]:
            vector = music.titled(task.title)
            nothing[row] = vector is None
            vectors[row] = 0 if vector is None else vector
    popular = torch.argsort(-music.counts, stable=True)
    if cap is not None:
        popular = popular[within_cap(popular.unsqueeze(0), torch.from_numpy(p.track_artist).long(), cap)[0]]
    uris = np.array(p.track_uris.tolist())

    def lines():
        at_once = chunk_for(p.num_tracks)
        chunks = zip(torch.arange(len(tasks)).split(at_once), music.in_bulk(vectors, held, TRACKS, penalty, cap))
        for rows, (tracks, _) in bar(chunks, len(tasks), at_once):
            if (tracks < 0).any() or len(popular) < TRACKS:
                raise InputError(f"--artist-cap {cap}: leaves fewer than {TRACKS} tracks; raise it")
            tracks = torch.where(nothing[rows].unsqueeze(1), popular[:TRACKS], tracks)
            for row, track in zip(rows.tolist(), tracks.numpy()):
                yield tasks[row].pid, uris[track].tolist()
    write_submission(path, lines(), team, email, track)
    return len(tasks), int(nothing.sum())


def export(music: Recommender, path: Path) -> None:
    """All embeddings. .npz: for every node type an array (N, D) by its name, <type>_uris and <type>_names; .tsv: a line
    a node: type, uri, name, D numbers. A playlist's uri is its pid."""
    p, z = music.playlists, music.run.embeddings
    uris = {"playlist": [str(pid) for pid in p.pids], "track": p.track_uris, "artist": p.artist_uris,
            "album": p.album_uris}
    if path.suffix == ".npz":
        arrays = {}
        for t, vectors in z.items():
            arrays |= {t: vectors.cpu().numpy(), f"{t}_uris": np.array(list(uris[t])),
                       f"{t}_names": np.array(list(p.names[t]))}
        with replaced(path, "wb") as file:
            np.savez(file, **arrays)
        return
    if path.suffix != ".tsv":
        raise InputError(f"--export {path}: the name must end in .npz or .tsv")
    with replaced(path) as file:
        file.write("\t".join(["type", "uri", "name", *map(str, range(next(iter(z.values())).shape[1]))]) + "\n")
        for t, vectors in z.items():
            for uri, name, row in zip(uris[t], p.names[t], vectors.cpu().tolist()):
                file.write("\t".join([t, uri, " ".join(name.split()), *(f"{v:.6g}" for v in row)]) + "\n")


def bar(chunks, playlists: int, at_once: int):
    """A progress bar over chunks of playlists."""
    return tqdm(chunks, "recommend", total=-(-playlists // at_once), disable=None, leave=False, delay=2)


# ---- the script ------------------------------------------------------------------------------------------------------

def main(argv: list[str] | None = None) -> list | None:
    """Print and return the list, or write the file."""
    args = parse(argv)
    if args.check:
        wrong = check_submission(args.check, read_challenge(args.challenge))
        if wrong:
            print("\n".join(wrong))
            raise InputError(f"{args.check}: {wrong[0]}" + f" (and {len(wrong) - 1} more)" * (len(wrong) > 1))
        print(f"{args.check}: keeps every rule of the challenge")
        return None
    music = Recommender.load(args.run, args.as_trained, cli.choose_device(args.device))
    how = {"popularity_penalty": args.popularity_penalty, "artist_cap": args.artist_cap}
    if args.similar is not None or args.similar_artists is not None:
        found = (music.similar_artists(args.similar_artists, args.n) if args.similar is None else
                 music.similar(args.similar, args.n))
        print(cli.table(["#", "name", "similarity", "uri"],
                        [[i, s.name, s.similarity, s.uri] for i, s in enumerate(found, 1)]))
        return found
    if args.export:
        export(music, args.export)
        print(f"{args.export}: {sum(music.run.graph.num_nodes.values()):,} embeddings of {len(music.columns)} numbers")
        return None
    if args.all:
        lines = write_all(music, args.out, args.n, args.popularity_penalty, args.artist_cap)
        print(f"{args.out}: {lines:,} recommendations")
        return None
    if args.challenge:
        count, popular = write_challenge(music, args.challenge, args.out, args.team, args.email, args.track,
                                         args.popularity_penalty, args.artist_cap)
        print(f"{args.out}: {count:,} playlists, {popular:,} of them by popularity alone\n\nnext: python recommend.py "
              f"--challenge {args.challenge} --check {args.out}")
        return None

    if args.title is not None:
        found, context = music.from_title(args.title, args.n, **how), None
    elif args.seeds:
        seeds = [music.track(seed) for seed in args.seeds]
        found, context = music.from_seeds(seeds, args.n, **how), {"seeds": seeds}
        print("from       " + ", ".join(" – ".join(filter(None, music.name(t))) for t in seeds))
    else:
        row = music.playlist(args.playlist)
        pid = int(music.playlists.pids[row])
        found, context = music.complete(pid, args.n, **how), {"playlist": pid}
        print(f"playlist   {music.playlists.playlist_names[row]!r} (pid {pid}), "
              f"{int(music.shown.ptr[row + 1] - music.shown.ptr[row])} tracks")
    print(f"run        {music.run.folder} ({music.run.settings.model})\n")
    print(shown(found))
    if args.explain and context is not None:
        for i, r in enumerate(found, 1):
            print(f"\n{i}. {' – '.join(filter(None, (r.title, r.artist)))}")
            print("\n".join("   " + line for line in reasons(music, music.explain(r.track, **context))))
    return found


if __name__ == "__main__":
    cli.run(main)
