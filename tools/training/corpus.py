#!/usr/bin/env python3
"""Build the training corpus, the tokenizer and the token files of the default model.

Input: folders with public-domain books (Project Gutenberg style text, Markdown, TEI XML) and
folders with unpacked documentation packages (HTML, Mallard pages, Perl POD).
Output (in --out): train/valid/test text, tokenizer.json, uint16 token files and stats.json.

    corpus.py text   --books md:DIR --books txt:DIR --docs NAME:DIR ... --out OUT
    corpus.py tokens --out OUT --vocab 8192 --parts 4

"text" cleans, de-duplicates and splits by document; "tokens" trains the byte-level BPE tokenizer
and encodes the text. Needs: tokenizers, numpy, lxml.
"""

import argparse
import collections
import json
import multiprocessing as mp
import random
import re
import zlib
from pathlib import Path

from cleaning import book_text, doc_paragraphs, english
from tokens import make_tokens

# Documentation whose licence is permissive (or public domain): only it is used for text that is
# handed on.
PERMISSIVE = {
    "sqlite3-doc",
    "postgresql-doc-15",
    "apache2-doc",
    "python3.11-doc",
    "rust-doc",
    "cmake-doc",
    "python-django-doc",
    "python-pandas-doc",
    "python-scipy-doc",
    "python-sklearn-doc",
}
# Which pages of a documentation package are English prose: (must match, must not match).
DOC_PATHS = {
    "apache2-doc": (r"/en/.*\.html", r"quickreference|directives\.html"),
    "rust-doc": (
        r"/html/(book|reference|nomicon|rust-by-example|cargo|rustc|rustdoc|edition-guide|embedded-book|"
        r"unstable-book)/.*\.html$",
        r"print\.html|/toc\.html",
    ),
    "gnome-user-docs": (r"/help/C/.*\.(page|xml)$", None),
    "debian-handbook": (r"/en-US/.*\.html$", None),
    "installation-guide-amd64": (r"/en/.*\.html$", None),
    "harden-doc": (r"(/en|html)/.*\.en\.html$|securing-debian-manual/.*en.*\.html$", None),
    "ghc-doc": (r"users_guide/.*\.html$", None),
    "perl-doc": (r"\.pod$", r"perl\d+delta"),
    "linux-doc-6.1": (r"\.html$", r"genindex|search\.html|/sound/|translations|/devicetree/"),
    "python-pandas-doc": (r"\.html$", r"genindex|/api/"),
    "python-scipy-doc": (r"\.html$", r"genindex|py-modindex"),
    "python-sklearn-doc": (r"\.html$", r"genindex"),
}
FULL = mp.Event()  # set once enough books are in: the workers then skip the rest


def sketch(text):
    """Hash 1 in 8 of the sentences to 32 bits: near-duplicate books share most of them."""
    out = set()
    for sent in re.split(r"[.!?]", text):
        key = re.sub(r"[^a-z]", "", sent.lower())
        if len(key) >= 40:
            h = zlib.crc32(key.encode())
            if h % 8 == 0:
                out.add(h)
    return out


def load_book(job):
    source, kind, path = job
    if FULL.is_set():
        return source, path, None, None
    text = book_text(kind, Path(path).read_bytes())
    if len(text) < 8000 or not english(text) or not english(text[len(text) // 2 :]):
        return source, path, None, None
    return source, path, text, sketch(text)


def load_docs(job):
    name, root = job
    want, skip = DOC_PATHS.get(
        name, (r"\.html?$", r"genindex|search\.html|print\.html|py-modindex")
    )
    count, pages, seen = collections.Counter(), [], set()
    for path in sorted(Path(root).rglob("*")):
        if (
            path.is_file()
            and not path.is_symlink()
            and re.search(want, str(path))
            and not (skip and re.search(skip, str(path)))
        ):
            paras = [p for p in doc_paragraphs(path) if re.search(r"[A-Za-z]{2}", p)]
            count.update(set(paras))
            pages.append((str(path.relative_to(root)), paras))
    out = []
    for rel, paras in pages:
        keep = []
        for p in paras:
            if count[p] > 12 or (len(p) >= 40 and p in seen) or len(p) > 6000:
                continue
            seen.add(p)
            keep.append(p)
        text = "\n\n".join(keep)
        prose = sum(len(p) for p in keep if len(p) > 80)
        if len(text) >= 600 and prose > 0.5 * len(text) and english(text):
            out.append((name, rel, text))
    return out


def split_documents(docs, rng, out):
    """Write valid, test and train, split by document.

    valid and test hold an excerpt of each of 16 books (the rest of those books is not used) and
    whole pages of permissively licensed documentation.
    """
    books = [d for d in docs if d["genre"] == "book" and 150e3 < len(d["text"]) < 2e6]
    manuals = [d for d in docs if d["source"] in PERMISSIVE and len(d["text"]) < 40000]
    held = set()
    for split in ("valid", "test"):
        part = []
        for book in [books.pop() for _ in range(min(16, len(books) // 4))]:
            held.add(id(book))
            begin = book["text"].find("\n\n", rng.randrange(20000, len(book["text"]) - 70000)) + 2
            stop = book["text"].find("\n\n", begin + 45000)
            part.append({**book, "text": book["text"][begin:stop]})
        total = 0
        while total < 280e3:
            page = manuals.pop()
            held.add(id(page))
            part.append(page)
            total += len(page["text"])
        rng.shuffle(part)
        write_docs(out, split, part)
    write_docs(out, "train", [d for d in docs if id(d) not in held])


def make_text(args):
    rng = random.Random(args.seed)  # noqa: S311  (a split, not a secret)
    jobs = []
    for spec in args.books:
        kind, root = spec.split(":", 1)
        files = sorted(Path(root).rglob("*." + {"md": "md", "tei": "xml"}.get(kind, "txt")))
        files = [f for f in files if f.name.lower() not in ("readme.md", "requirements.txt")]
        rng.shuffle(files)
        jobs += [(Path(root).name, kind, f) for f in files]
    docs, seen, log = [], set(), collections.Counter()
    per_author, size = collections.Counter(), 0
    with mp.Pool(args.jobs) as pool:
        doc_results = pool.map_async(
            load_docs, [tuple(d.split(":", 1)) for d in args.docs], chunksize=1
        )
        for source, path, text, marks in pool.imap(load_book, jobs, chunksize=8):
            author = path.parent.name
            if size >= args.max_book_mb * 1e6:
                log[source, "not read, the corpus was full"] += 1
            elif text is None:
                log[source, "not English or too short"] += 1
            elif len(marks & seen) > 0.2 * max(len(marks), 1):
                log[source, "duplicate"] += 1
            elif per_author[source, author] > args.max_author_mb * 1e6:
                log[source, "over the author cap"] += 1
            else:
                seen |= marks
                size += len(text)
                if size >= args.max_book_mb * 1e6:
                    FULL.set()
                if source == "pgtext":
                    per_author[source, author] += len(text)
                log[source, "kept"] += 1
                log[source, "chars"] += len(text)
                docs.append(
                    {
                        "source": source,
                        "name": author + "/" + path.name,
                        "text": text,
                        "genre": "book",
                    }
                )
        for pages in doc_results.get():
            for name, rel, text in pages:
                log[name, "kept"] += 1
                log[name, "chars"] += len(text)
                docs.append({"source": name, "name": rel, "text": text, "genre": "docs"})
    rng.shuffle(docs)
    split_documents(docs, rng, args.out)
    stats = collections.defaultdict(dict)
    for (source, what), n in sorted(log.items()):
        stats[source][what] = n
    (Path(args.out) / "stats.json").write_text(json.dumps(stats, indent=1))
    print(json.dumps(stats))


def write_docs(out, split, docs):
    with (Path(out) / f"{split}.jsonl").open("w") as f:
        for d in docs:
            f.write(json.dumps(d, ensure_ascii=False) + "\n")
    print(
        split,
        len(docs),
        "documents",
        sum(len(d["text"].encode()) for d in docs),
        "bytes",
        flush=True,
    )


if __name__ == "__main__":
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("step", choices=["text", "tokens"])
    ap.add_argument(
        "--books", action="append", default=[], metavar="KIND:DIR", help="kind: md, txt or tei"
    )
    ap.add_argument("--docs", action="append", default=[], metavar="NAME:DIR")
    ap.add_argument("--out", required=True)
    ap.add_argument("--max-book-mb", type=float, default=620)
    ap.add_argument(
        "--max-author-mb", type=float, default=7, help="cap per author folder in the largest source"
    )
    ap.add_argument("--vocab", type=int, default=8192)
    ap.add_argument("--sample-mb", type=float, default=80)
    ap.add_argument("--parts", type=int, default=4)
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (make_text if a.step == "text" else make_tokens)(a)
