"""Evaluation text by kind: books, manuals, and encyclopedic articles, which no training text holds.

    kinds.py --articles wiki.test.raw --out DIR

Writes ``books.txt`` and ``manuals.txt`` from the package's own evaluation text, and from WikiText-2
(Merity et al., 2016; its raw test set) ``articles-choose.txt`` and ``articles.txt``: every other
article to choose settings by, the others to publish. WikiText comes with spaces around its tokens;
they are taken out, and quotes and dashes made ASCII, as in the training text.
"""

import argparse
import json
import re
from pathlib import Path

from tvm_c4n.assets import VALID_TEXT
from tvm_c4n.model.text import SEPARATOR, read_documents

MANUALS = re.compile(r"-doc(-\d+)?$|^python")
_PLAIN = {0x2013: "-", 0x2014: "-", 0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}


def detokenised(line: str) -> str:
    """Undo the spaces of WikiText's tokens."""
    line = re.sub(r" @([-,.])@ ", r"\1", line.translate(_PLAIN))
    line = re.sub(r'" ([^"]*) "', r'"\1"', line)
    line = re.sub(r" ' ?(s|re|ve|ll|d|m|t)\b", r"'\1", line)
    line = re.sub(r" ([,.;:!?%)\]])", r"\1", line)
    return re.sub(r"([(\[$£]) ", r"\1", line).strip()


def articles(raw: str) -> list[str]:
    """Articles of WikiText's raw form, without headings."""
    found: list[list[str]] = []
    for line in raw.splitlines():
        if re.fullmatch(r" = [^=]+ = ?", line):
            found.append([])
        elif line.strip() and not line.startswith(" ="):
            found[-1].append(detokenised(line))
    return ["\n\n".join(paragraphs) for paragraphs in found if paragraphs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--articles", type=Path, required=True, help="WikiText-2's wiki.test.raw")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    sources = json.loads(VALID_TEXT.with_name("valid_sources.json").read_text())
    documents = list(zip(sources, read_documents(VALID_TEXT), strict=True))
    found = articles(args.articles.read_text(encoding="utf-8"))
    kinds = {
        "manuals": [text for source, text in documents if MANUALS.search(source["source"])],
        "books": [text for source, text in documents if not MANUALS.search(source["source"])],
        "articles-choose": found[::2],
        "articles": found[1::2],
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for kind, texts in kinds.items():
        (args.out / f"{kind}.txt").write_text(f"\n{SEPARATOR}\n".join(texts), encoding="utf-8")
        print(f"{kind}: {len(texts)} documents, {sum(map(len, texts))} characters")


if __name__ == "__main__":
    main()
