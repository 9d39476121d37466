"""The card of a C4n folder: README.md, for people and for the hub.

What a card quotes came from strangers: names of folders, a licence. It stays text here, whatever it
says. The same model gives the same card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_c4n.checkpoint.base import CARD
from tvm_c4n.checkpoint.c4n import C4nCheckpoint
from tvm_c4n.checkpoint.hub_names import name_of, origin_of
from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES, read_text
from tvm_c4n.checkpoint.yaml_reading import MAX_YAML_BYTES, parse_yaml
from tvm_c4n.errors import CheckpointError, one_line
from tvm_c4n.model.families import describe_model
from tvm_c4n.sparsity import count_removed

_FRONT = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
# What the hub takes for a licence: a short word.
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Base:
    """The dense model that a folder was made from.

    Attributes
    ----------
    name : str
        Of its folder, or ``org/name`` of a hub.
    revision : str
        Commit of the hub's model; empty for others.
    licence : str
        As its card says; empty where it says none.
    """

    name: str
    revision: str = ""
    licence: str = ""

    @property
    def argument(self) -> str:
        """The model as an argument of a command."""
        return f"{self.name}@{self.revision}" if self.revision else self.name


def base_of(folder: Path) -> Base:
    """Describe a dense model by its folder."""
    origin, licence = origin_of(folder), _front_of(folder).get("license")
    said = licence if isinstance(licence, str) and _LICENCE.fullmatch(licence) else ""
    return (
        Base(name_of(folder), "", said)
        if origin is None
        else Base(origin.repo, origin.revision, said)
    )


def base_of_pruned(folder: Path, dense: Path) -> Base:
    """Describe the model that a C4n folder was pruned from: as its report says, or its teacher."""
    given = base_of(dense)
    try:
        report = read_json(folder / "report.json", MAX_INDEX_BYTES, "")
    except CheckpointError:
        return given
    name, revision = report.get("source"), report.get("revision", "")
    known = isinstance(revision, str) and (not revision or _COMMIT.fullmatch(revision))
    return Base(name, revision, given.licence) if isinstance(name, str) and known else given


def _front_of(folder: Path) -> Mapping[str, Any]:
    """Read what stands before a card's text; nothing where it is none."""
    try:
        found = _FRONT.match(read_text(folder / CARD, MAX_YAML_BYTES, ""))
        return parse_yaml(found[1], "", "") if found else {}
    except CheckpointError:
        return {}


def model_card(
    base: Base, checkpoint: C4nCheckpoint, title: str, tags: Iterable[str], parts: Sequence[str]
) -> str:
    """Write a card.

    Parameters
    ----------
    base : Base
    checkpoint : C4nCheckpoint
        The folder that the card is for.
    title : str
        Follows the base's name.
    tags : iterable of str
    parts : sequence of str
        Markdown; what they quote is `quoted`.
    """
    model_type = describe_model(checkpoint.config).model_type
    dtypes = sorted({entry.dtype for entry in checkpoint.manifest.tensors.values()})
    front = {
        "base_model": one_line(base.name),
        **({"license": base.licence} if base.licence else {}),
        "library_name": "tvm-c4n",
        "pipeline_tag": "text-generation",
        "tags": ["c4n", *tags, model_type, *dtypes],
    }
    # JSON is YAML, whatever a name holds.
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    name = quoted(base.name.rpartition("/")[2])
    return (
        "\n\n".join([f"---\n{head}---", f"# {name}{title}", *parts, _LICENCES[bool(base.licence)]])
        + "\n"
    )


_LICENCES = {
    True: "The licence is that of the base model, as its card says it.",
    False: "The base model's card says no licence; its terms hold for this model, too.",
}


def about_base(base: Base) -> str:
    """Name the base and its commit."""
    commit = f" at commit `{base.revision}`" if base.revision else ""
    return f"{quoted(base.name)}{commit}"


def run_part() -> str:
    """Say how to run the folder."""
    return (
        "## Run it\n\n`DIR` is this folder, the program is tvm-c4n:\n\n```\n"
        'tvm-c4n run DIR -p "Once upon a time"\n'
        "tvm-c4n eval DIR                        # perplexity\n"
        "tvm-c4n compile DIR -o model.art        # --target arm64-android for a phone\n```"
    )


def weights_table(checkpoint: C4nCheckpoint, errors: Mapping[str, float] | None = None) -> str:
    """Write a table of the weights by kind: removed, dtype, and relative errors where known."""
    config = describe_model(checkpoint.config)
    entries, kinds = checkpoint.manifest.tensors, config.kinds()
    names: dict[str, list[str]] = {}
    for name in entries:
        names.setdefault(kinds.get(name, "other"), []).append(name)
    more = ["relative error"] if errors else []
    rows = [["weight", "count", "removed of every 4", "dtype", *more]]
    rows.append(["---", *["---:"] * (len(rows[0]) - 1)])
    for kind, own in names.items():
        removed = count_removed(entries[name].removed for name in own)
        dtypes = ", ".join(sorted({entries[name].dtype for name in own}))
        error = [f"{errors[kind]:.4f}" if kind in errors else ""] if errors else []
        rows.append([quoted(kind), str(len(own)), _removed(removed), dtypes, *error])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _removed(counts: Mapping[int, int]) -> str:
    """Write ``2``, or ``1 (x3), 2 (x13)`` of several."""
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{removed} (x{count})" for removed, count in sorted(counts.items()))


def quoted(text: str) -> str:
    """Quote a stranger's text as code of one line, which no Markdown or HTML in it ends."""
    line = one_line(text).replace("|", "¦")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not line else ""
    return f"{fence}{space}{line}{space}{fence}"
