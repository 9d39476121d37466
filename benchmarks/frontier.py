"""Perplexity against speed and size, beside llama.cpp's types of the same model.

Perplexity is on the same windows of the bundled text for all. llama.cpp's is that of its quantised
weights: they are read from the GGUF file, expanded, and scored by our float16 build, so that
tokens, windows and protocol are the same; what llama.cpp loses by rounding activations is not
counted against it. Needs the extras [prune] and [bench], and llama.cpp (`make bench-llama`).
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import typer

from benchmarks.contenders import C4nModel, Contender, LlamaCpp, NamedModel, Test
from benchmarks.interleaved import Line, Log, read_log
from benchmarks.interleaved import measure as take_samples
from benchmarks.machine import CACHE
from benchmarks.models import REAL
from benchmarks.options import Rounds, Save
from benchmarks.random_models import Format
from benchmarks.report import markdown
from benchmarks.results import place, write_result
from tvm_c4n.checkpoint import ArrayCheckpoint, export_dense, open_checkpoint
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.model.families import describe_model

HOME = CACHE / "frontier"
NAMED = {
    "mamba-19m-8.6MB": "mixture, 8.6 MB",
    "mamba-19m-9.5MB": "mixture, 9.5 MB",
    "mamba-19m-10.5MB": "mixture, 10.5 MB",
    "mamba-19m-mixed": "mixture, 8.6 MB, healed",
    "mamba-19m-s30-int4": "int4 30 % removed, healed",
    "mamba-19m-n2-int4": "int4 n=2, healed",
    "mamba-19m-n3-int4": "int4 n=3, healed",
}
TESTS = [Test(0, 128), Test(512, 0)]
TYPES = ("Q8_0", "Q4_0", "IQ4_NL", "Q3_K_M", "Q2_K", "F16")
FORMATS = ("float16-n0", "int4-n0", "int4-n1", "int3-n0", "int3-n1", "int2-n0")

# What a point is drawn against: its label and ticks.
Axis = Literal["generation", "prompt", "size"]
_AXES: dict[Axis, tuple[str, list[int]]] = {
    "generation": (
        "generation, tokens/s (log scale; more is better)",
        [200, 500, 1000, 2000, 5000],
    ),
    "prompt": ("prompt of 512, tokens/s (log scale; more is better)", [2000, 5000, 10000, 20000]),
    "size": ("megabytes of weights (log scale; less is better)", [8, 10, 12, 16, 20, 30, 40]),
}

Point = dict[str, Any]


def frontier(
    windows: Annotated[int, typer.Option(help="Windows of 1024 tokens, spread evenly.")] = 12,
    threads: Annotated[int, typer.Option("--threads", "-t")] = 2,
    rounds: Rounds = 6,
    save: Save = False,
    picture: Annotated[Path | None, typer.Option(help="PNG to draw.")] = None,
    against: Annotated[Axis, typer.Option(help="What is to the right in it.")] = "generation",
    show: Annotated[
        Path | None, typer.Option(help="Measure nothing: print and draw this saved result.")
    ] = None,
) -> None:
    """Measure perplexity and speeds, ours beside llama.cpp's; print and draw them."""
    if show is None:
        found = perplexities(windows)
        log = HOME / "decode.jsonl"
        log.unlink(missing_ok=True)
        with ProgressBar("measuring") as bar:
            take_samples(points(), TESTS, [threads], rounds, Log(log), progress=bar)
        show = place("frontier.json", save)
        write_result(show, {"perplexity": found, "log": read_log([log])})
    result = json.loads(show.read_text("utf-8"))
    found = measured(result["perplexity"]["points"], result["log"])
    print(table(found))
    if picture is not None:
        sample = next(line for line in result["log"] if line["type"] == "sample")
        draw(found, against, result["run"], sample["threads"], picture)


def points() -> list[Contender]:
    """Return all points of the frontier."""
    ours: list[Contender] = [C4nModel(REAL, Format.parse(text)) for text in FORMATS]
    named = [NamedModel(source, label) for source, label in NAMED.items()]
    return [*ours, *named, *(LlamaCpp(REAL, kind) for kind in TYPES)]


def perplexities(windows: int) -> dict[str, Any]:
    """Make the files and measure perplexities; what an interrupted call measured is kept."""
    file = HOME / "perplexity.json"
    found: dict[str, Any] = {"windows": windows, "points": {}}
    if file.is_file() and (kept := json.loads(file.read_text()))["windows"] == windows:
        found = kept
    contenders = points()
    with ProgressBar("perplexity") as bar:
        for done, one in enumerate(contenders):
            bar(one.name, done, len(contenders))
            model = one.make()
            if one.name not in found["points"]:
                found["points"][one.name] = _perplexity(one, model, windows)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, json.dumps(found, indent=1) + "\n")
    return found


def _perplexity(one: Contender, model: Path, windows: int) -> dict[str, float]:
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.compile.artifact import compile_model
    from tvm_c4n.evaluate import evaluate_text
    from tvm_c4n.runtime.engine import Engine

    with TemporaryDirectory(prefix="frontier-") as folder:
        if isinstance(one, LlamaCpp):
            export_dense(expanded(model), Path(folder) / "model", dtype="float32")
            compile_model(Path(folder) / "model", Path(folder) / "artifact")
            model = Path(folder) / "artifact"
        found = evaluate_text(Engine.load(model), VALID_TEXT, max_windows=windows).perplexity
    return {"ppl": found.value, "stderr": found.stderr}


def expanded(file: Path) -> ArrayCheckpoint:
    """Return the model with the matrices of a GGUF file, dequantised."""
    import gguf

    from benchmarks.llama_cpp.to_gguf import names_of

    dense = open_checkpoint(REAL)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    tensors = {name: dense.dense(name) for name in dense.names()}
    for theirs, name in names_of(describe_model(dense.config)).items():
        if name.endswith(("_proj.weight", "embeddings.weight")):
            tensor = stored[theirs]
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            tensors[name] = values.reshape(tensors[name].shape)
    return ArrayCheckpoint(dense.config, tensors, dense.extra_files())


def measured(perplexity: dict[str, Any], lines: list[Line]) -> list[Point]:
    """Join perplexities and samples: name, ours, ppl, stderr, size (MB), tokens/s of both tests."""
    joined = []
    for name, found in perplexity.items():
        samples = [line for line in lines if line["type"] == "sample" and line["row"] == name]
        if samples:
            point = {"name": name, "ours": samples[0]["engine"] != "llama.cpp", **found}
            point["size"] = [samples[0]["weight_bytes"] / 1e6]
            for test, key in (("tg", "generation"), ("pp", "prompt")):
                own = [line for line in samples if line["test"].startswith(test)]
                point[key] = [line["tokens"] / line["secs"] for line in own]
            joined.append(point)
    return joined


def table(found: list[Point]) -> str:
    """Lay out the points, and for each of llama.cpp's which of ours beat it in everything."""
    rows = []
    for point in found:
        better = [other["name"] for other in found if other["ours"] and not point["ours"]
                  and beats(other, point)]  # fmt: skip
        rates = [_rate(point[key]) for key in ("generation", "prompt")]
        ppl = f"{point['ppl']:.2f} ± {point['stderr']:.2f}"
        size_mb = f"{point['size'][0]:.1f}"
        rows.append([point["name"], size_mb, ppl, *rates, ", ".join(better)])
    head = ["model", "MB", "perplexity", "generation, t/s", "prompt, t/s", "beaten by"]
    return markdown(head, rows)


def beats(one: Point, other: Point) -> bool:
    """Whether a point is no worse, no larger and, by medians, no slower than another."""
    speeds = [median(one[key]) >= median(other[key]) for key in ("generation", "prompt")]
    return one["ppl"] <= other["ppl"] and one["size"] <= other["size"] and all(speeds)


def _rate(speeds: list[float]) -> str:
    return f"{median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"


def draw(found: list[Point], against: Axis, run: dict[str, Any], threads: int, file: Path) -> None:
    """Draw the points: what they are drawn against to the right, perplexity upwards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots()
    colours = {True: "#0a6e5c", False: "#b3541e"}
    for ours, label in ((True, "tvm_c4n"), (False, "llama.cpp")):
        own = [point for point in found if point["ours"] is ours]
        along, ppls = [median(p[against]) for p in own], [p["ppl"] for p in own]
        areas = [4 * point["size"][0] for point in own]
        axes.scatter(along, ppls, s=areas, color=colours[ours], alpha=0.85, label=label, lw=0)
    # Labels stand in a column of their own, in the order of the points.
    for rank, point in enumerate(sorted(found, key=lambda point: point["ppl"])):
        name = point["name"].removeprefix("llama.cpp ").removeprefix("C4n ")
        colour, at = colours[point["ours"]], (median(point[against]), point["ppl"])
        how = {"va": "center", "fontsize": 8.5, "color": colour, "textcoords": "axes fraction"}
        how["arrowprops"] = {"arrowstyle": "-", "color": colour, "alpha": 0.35, "relpos": (0, 0.5)}
        size_mb = "" if name.endswith("MB") else f", {point['size'][0]:.0f} MB"
        text = name.replace(" removed", "") + size_mb
        axes.annotate(text, at, (1.04, rank / max(len(found) - 1, 1)), **how)
    label, ticks = _AXES[against]
    axes.set(xlabel=label, ylabel="perplexity (less is better)", xscale="log")
    title = f"mamba-19m, {threads} threads of {run['machine']}; area: megabytes of weights"
    axes.set_title(title, loc="left", fontsize=10)
    axes.margins(x=0.08, y=0.08)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xticks(ticks, minor=False)
    axes.minorticks_off()
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best", markerscale=0.6)
    figure.savefig(file, dpi=130, bbox_inches="tight", metadata={"Software": None})
