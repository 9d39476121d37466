"""Perplexity against decode speed, beside llama.cpp's types of the same model.

    python -m benchmarks.frontier make     # artifacts, GGUF files, perplexities
    python -m benchmarks.frontier measure  # decode speed, all in turns; wants a quiet machine
    python -m benchmarks.frontier report   # table and picture

Needs the extras [prune] and [bench], and llama.cpp (`make bench-llama`). Perplexity is on the same
windows of the embedded text for all. llama.cpp's is that of its quantised weights: they are read
from the GGUF file, expanded, and scored by our float16 build, so that tokens, windows and protocol
are the same; what llama.cpp loses by rounding activations is not counted against it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.machine import CACHE
from benchmarks.models import REAL, compiler_digest
from benchmarks.rounds import Log, read_log
from benchmarks.rounds import measure as take_samples
from benchmarks.rows import LlamaCpp, Ours, Row, Test
from benchmarks.shapes import Format
from tvm_c4n.checkpoint import ArrayCheckpoint, export_dense, open_checkpoint
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.model.config import MambaConfig

HOME = CACHE / "frontier"
HEALED = {
    "mamba-19m-s30-int4": "30 % removed",
    "mamba-19m-n2-int4": "n=2",
    "mamba-19m-n3-int4": "n=3",
}
PEERS = ("Q8_0", "Q4_0", "Q3_K_M", "Q2_K", "F16")
FORMS = ("float16-n0", "int4-n0")
COLOURS = {"llama.cpp": "#b3541e", "one-shot": "#6aa99c", "healed": "#0a6e5c"}

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Windows = Annotated[int, typer.Option(help="Windows of 1024 tokens, spread evenly.")]
LogFile = Annotated[Path, typer.Option("--log", help="JSON lines; appended to.")]


class Healed(Ours):
    """A healed model that comes with the package."""

    def __init__(self, source: str):
        super().__init__(REAL, Format("int4", 0))
        self.source, self.name = source, f"C4n int4 {HEALED[source]}, healed"

    def make(self) -> Path:
        """Return the artifact; compiles it where it is missing or older than the compiler."""
        from tvm_c4n.compile.artifact import compile_model

        folder = HOME / f"{self.source}-{compiler_digest()}.art"
        if not folder.is_dir():
            compile_model(self.source, folder)
        return folder


def rows() -> list[Row]:
    """Return all points of the frontier."""
    ours: list[Row] = [Ours(REAL, Format.parse(form)) for form in FORMS]
    healed: list[Row] = [Healed(name) for name in HEALED]
    return [*ours, *healed, *(LlamaCpp(REAL, kind) for kind in PEERS)]


@app.command()
def make(windows: Windows = 24) -> None:
    """Make the files, and measure perplexities."""
    found: dict[str, Any] = {"windows": windows, "points": {}}
    file = HOME / "perplexity.json"
    if file.is_file() and (kept := json.loads(file.read_text()))["windows"] == windows:
        found = kept  # a run that was interrupted goes on
    with ProgressBar("frontier") as bar:
        for done, row in enumerate(rows()):
            bar(row.name, done, len(rows()))
            model = row.make()
            if row.name in found["points"]:
                continue
            if isinstance(row, LlamaCpp):
                with TemporaryDirectory(prefix="frontier-") as folder:
                    export_dense(expanded(model), Path(folder) / "model", dtype="float32")
                    result = _perplexity(Path(folder) / "model", windows)
            else:
                result = _perplexity(model, windows)
            found["points"][row.name] = {"ppl": result.value, "stderr": result.stderr}
            HOME.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{row.name}: {result}", flush=True)


def _perplexity(model: Path, windows: int) -> Any:
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.compile.cache import load
    from tvm_c4n.evaluate import evaluate_text

    return evaluate_text(load(model), VALID_TEXT, max_windows=windows).perplexity


def expanded(file: Path) -> ArrayCheckpoint:
    """Return the model with the matrices of a GGUF file, dequantised."""
    import gguf

    from benchmarks.llama_cpp.to_gguf import names_of

    dense = open_checkpoint(REAL)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    tensors = {name: dense.dense(name) for name in dense.names()}
    for theirs, name in names_of(MambaConfig.from_hf(dense.config)).items():
        if name.endswith(("_proj.weight", "embeddings.weight")):
            tensor = stored[theirs]
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            tensors[name] = values.reshape(tensors[name].shape)
    return ArrayCheckpoint(dense.config, tensors, dense.extra_files())


@app.command()
def measure(
    threads: Annotated[int, typer.Option(help="Of every row.")] = 2,
    rounds: int = 5,
    n_gen: int = 128,
    log: LogFile = HOME / "decode.jsonl",
) -> None:
    """Measure decode speed, all rows in turns."""
    with ProgressBar("measuring") as bar:
        out = Log(log, f"benchmarks.frontier measure --threads {threads} --rounds {rounds}")
        take_samples(rows(), [Test(0, n_gen)], [threads], rounds, out, progress=bar)


@app.command()
def report(
    log: LogFile = HOME / "decode.jsonl",
    picture: Annotated[Path | None, typer.Option(help="PNG to draw.")] = None,
    save: Annotated[Path | None, typer.Option(help="JSON with perplexities and samples.")] = None,
) -> None:
    """Print the table; say which llama.cpp points a C4n point beats in both."""
    perplexities = json.loads((HOME / "perplexity.json").read_text())
    lines = read_log([log])
    points = _points(perplexities["points"], lines)
    print(table(points))
    if save is not None:
        save.write_text(json.dumps({"perplexity": perplexities, "log": lines}, indent=1) + "\n")
    if picture is not None:
        shutil.copyfile(_draw(points), picture)


def _points(perplexities: dict[str, Any], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    points = []
    for name, found in perplexities.items():
        samples = [ln for ln in lines if ln["type"] == "sample" and ln["row"] == name]
        speeds = [line["tokens"] / line["secs"] for line in samples]
        if speeds:
            kind = "healed" if name.endswith("healed") else "one-shot"
            kind = samples[0]["engine"] if samples[0]["engine"] == "llama.cpp" else kind
            size_mb = samples[0]["weight_bytes"] / 1e6
            points.append(
                {"name": name, "kind": kind, **found, "speeds": speeds, "size_mb": size_mb}
            )
    return points


def table(points: list[dict[str, Any]]) -> str:
    """Return the points as Markdown, and for each of llama.cpp's which of ours beat it in both."""
    lines = [
        "| model | MB | perplexity | tokens/s, median (least to most) | beaten in both by |",
        "|---|---:|---:|---:|---|",
    ]
    for point in points:
        speeds = point["speeds"]
        better = [
            other["name"]
            for other in points
            if point["kind"] == "llama.cpp" != other["kind"]
            and other["ppl"] <= point["ppl"]
            and median(other["speeds"]) >= median(speeds)
        ]
        lines.append(
            f"| {point['name']} | {point['size_mb']:.1f} | "
            f"{point['ppl']:.2f} ± {point['stderr']:.2f} | "
            f"{median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f}) | "
            f"{', '.join(better)} |"
        )
    return "\n".join(lines)


def _draw(points: list[dict[str, Any]]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    for kind, colour in COLOURS.items():
        own = [point for point in points if point["kind"] == kind]
        label = kind if kind == "llama.cpp" else f"C4n, {kind}"
        speeds = [median(point["speeds"]) for point in own]
        axes.scatter(speeds, [point["ppl"] for point in own], color=colour, label=label)
        for speed, point in zip(speeds, own, strict=True):
            short = point["name"].removeprefix("llama.cpp ").removeprefix("C4n ").split(",")[0]
            right = kind != "llama.cpp"  # theirs are the slower ones: names stay apart
            axes.annotate(
                short,
                (speed, point["ppl"]),
                xytext=(7 if right else -7, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
            )
    axes.set_xlabel("decode, tokens/s, log scale (more is better)")
    axes.set_ylabel("perplexity (less is better)")
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xticks([250, 500, 1000, 2000], minor=False)
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper center")
    file = HOME / "frontier.png"
    figure.savefig(file, dpi=130, bbox_inches="tight")
    return file


if __name__ == "__main__":
    app()
