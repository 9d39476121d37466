"""`compile_model`: a model folder to an artifact folder that `tvm_c4n.runtime` runs."""

from __future__ import annotations

from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tvm_c4n._tvm import IRModule, Target, name_of, relax, tvm
from tvm_c4n.checkpoint import Checkpoint, open_checkpoint
from tvm_c4n.checkpoint.files import copy_file, os_errors, reserve, write_atomically
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.compile.build import generate, phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.linker import linker_for, system_of
from tvm_c4n.compile.target import resolve_target, triple_of
from tvm_c4n.errors import C4nError
from tvm_c4n.model.chat_template import CHAT_FILES
from tvm_c4n.model.config import MAX_BATCH, MAX_TOKENS, check_tensors, check_values
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.model.state_choices import choose_context, choose_state_dtypes
from tvm_c4n.model.states import StateDType
from tvm_c4n.model.tokenizer import TOKENIZER, load_tokenizer
from tvm_c4n.ops.attrs import CONSTANTS, REGION, REGION_SCHEDULES, SCHEDULE
from tvm_c4n.ops.spec import spec_of
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.artifact import (
    MANIFEST,
    WEIGHTS,
    is_artifact,
    sha256_of,
)
from tvm_c4n.runtime.manifest import ALIGN, Manifest, Projection, Tensor, Text, library_name
from tvm_c4n.runtime.state import fingerprint_of
from tvm_c4n.sparsity import DType

# What `compile_model` tells its progress, in order.
STAGES = ("read", "repack", "generate code", "link")
# How projections that a folder stores dense may be compiled.
DENSE_DTYPES = ("float16", "float32")
# Objects and library, while both are there; the weights are in neither.
_CODE_BYTES = 2 << 20


def compile_model(
    model: str | Path,
    out: str | Path,
    target: str = "host",
    *,
    dtype: DType = "float16",
    context: int | None = None,
    scan_dtype: StateDType | None = None,
    kv_dtype: StateDType | None = None,
    batch: bool = False,
    records: str | Path | None = None,
    debug_dump: str | Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Compile a model folder; the artifact folder appears whole or not at all.

    Parameters
    ----------
    model : str or Path
        Name of an embedded model, Hugging Face folder or C4n folder.
    out : path
        The artifact folder.
    target : str
        ``"host"``, ``"arm64-linux"`` or ``"arm64-android"``.
    dtype : str
        ``"float16"`` or ``"float32"``, for projections that the folder stores dense.
    context : int, optional
        Tokens of the longest text, for models with attention: a multiple of 64, up to
        ``max_position_embeddings``. Memory for them is there from the start. Default: 4096, or
        fewer if the model was made for fewer.
    scan_dtype, kv_dtype : str, optional
        ``"float32"`` or ``"float16"``: how Mamba-2's scan states, and the keys and values of
        attention, are kept between tokens. Default: float32 for scan states, float16 for others.
    batch : bool
        Whether `tvm_c4n.runtime.batch.Batch` can run several sequences at once: compiling takes
        1.6 times as long.
    records : path, optional
        Folder of `tvm_c4n.tune` for this target; default: what the package has for it, if anything.
    debug_dump : path, optional
        Folder that gets the module after each phase.
    progress : callable, optional
        Called as ``progress(what, done, total)``.
    overwrite : bool
        Replace an existing artifact.

    Returns
    -------
    Manifest
        What was written.

    Raises
    ------
    C4nError
        CheckpointError for the model, TargetError for the target or the linker, TuneError for
        records of another machine.
    """
    if dtype not in DENSE_DTYPES:
        raise C4nError(f"dtype is {dtype!r}; known are {', '.join(DENSE_DTYPES)}")
    resolved = resolve_target(target)
    select = selector(resolved, records)
    triple = triple_of(resolved)
    linker_for(triple, system_of(triple))  # said now: it takes a while until one is needed

    def tell(done: int) -> None:
        if progress is not None:
            progress(STAGES[min(done, len(STAGES) - 1)], done, len(STAGES))

    with FolderTransaction(Path(out), overwrite, is_artifact) as transaction:
        tell(0)
        checkpoint = open_checkpoint(model, progress)
        config = describe_model(checkpoint.config)
        if context is not None:
            config = choose_context(config, context)
        config = choose_state_dtypes(config, scan_dtype, kv_dtype)
        check_tensors(config, checkpoint)
        tokenizer = load_tokenizer(checkpoint.path, checkpoint.config)
        check_values(config, checkpoint)
        mod = build_model(config, checkpoint, dtype=dtype, batch=MAX_BATCH if batch else 0)
        tell(1)
        select = select.for_weights_of(mod)
        phases = phases_for(select, lift=True, debug_dump=debug_dump)
        mod = prepare(mod, select, phases)
        folder = transaction.folder
        tensors = _write_weights(mod, folder / WEIGHTS)
        tell(2)
        executable = generate(mod.without_attr(CONSTANTS), resolved, phases)
        tell(3)
        library = _link(executable, folder, resolved)
        manifest = Manifest(
            target=target,
            triple=triple,
            isa=select.isa.name,
            features=list(select.isa.needs),
            tvm=tvm.__version__,
            config=checkpoint.config,
            projections=_projections(checkpoint, config, dtype),
            schedules=_schedules(mod),
            tensors=tensors,
            states=list(config.state_shapes()),
            state_dtypes=_state_dtypes(config),
            state_names=[state.name for state in config.states()],
            context=config.context,
            text=Text(start=tokenizer.start, ends=tokenizer.ends),
            chunk=MAX_TOKENS,
            batch=MAX_BATCH if batch else 0,
            weight_bytes=sum(tensor.size_bytes for tensor in tensors),
            library_sha256=library,
            weights_sha256=sha256_of(folder / WEIGHTS),
        )
        manifest = manifest.model_copy(update={"fingerprint": fingerprint_of(manifest)})
        text = manifest.model_dump_json(indent=1)
        write_atomically(folder / MANIFEST, text + "\n")
        for extra in checkpoint.extra_files():
            if extra.name in (TOKENIZER, *CHAT_FILES):
                copy_file(extra, folder / extra.name)
        tell(4)
    return manifest


def _state_dtypes(config: ModelConfig) -> list[str]:
    """Return the dtypes of the states, none where all are float32."""
    dtypes = [state.dtype for state in config.states()]
    return dtypes if set(dtypes) != {"float32"} else []


def _link(executable: relax.VMExecutable, folder: Path, target: Target) -> str:
    """Write the library under the name of its content; returns its sha256."""
    made = folder / "model.so"
    # LLVM ends the process where it cannot write an object.
    reserve(folder, _CODE_BYTES)
    fcompile = make_fcompile(triple_of(target))
    with TemporaryDirectory(dir=folder) as objects:
        executable.export_library(str(made), fcompile=fcompile, workspace_dir=objects)
    digest = sha256_of(made)
    made.rename(folder / library_name(digest))
    return digest


def _write_weights(mod: IRModule, file: Path) -> list[Tensor]:
    """Write the lifted constants in order, each at a multiple of 64 bytes."""
    tensors: list[Tensor] = []
    needed = sum(ALIGN + _size_bytes(constant) for constant in mod.attrs[CONSTANTS])
    with os_errors(file, "write", needed), file.open("wb") as stream:
        for constant in mod.attrs[CONSTANTS]:
            array = np.ascontiguousarray(constant.numpy())
            stream.write(b"\0" * (-stream.tell() % ALIGN))
            tensors.append(
                Tensor(dtype=str(array.dtype), shape=array.shape, offset=stream.tell())  # type: ignore[arg-type]
            )
            stream.write(array.data)
    return tensors


def _size_bytes(constant: Any) -> int:
    return int(prod(constant.shape)) * np.dtype(str(constant.dtype)).itemsize


def _projections(checkpoint: Checkpoint, config: ModelConfig, dtype: str) -> dict[str, Projection]:
    def describe(name: str) -> Projection:
        weight = checkpoint.weight(name)
        fields: dict[str, Any] = {"removed": 0, "dtype": dtype, "scale_group": 0}
        if weight is not None:
            fields = {key: getattr(weight, key) for key in fields}
        rows, cols = checkpoint.shape(name)
        return Projection(rows=rows, cols=cols, **fields)

    return {name: describe(name) for name in config.weights()}


def _schedules(mod: IRModule) -> dict[str, str]:
    """Name the rule behind each operator, also behind those that share a region."""
    found = {}
    for gvar, func in mod.functions_items():
        name, attrs = name_of(gvar), func.attrs or {}
        if spec_of(func) is not None:
            found[name] = str(attrs.get(SCHEDULE, "definition"))
        elif REGION in attrs:
            kinds = str(attrs[REGION]).split(" ")
            rules = str(attrs[REGION_SCHEDULES]).split("; ")
            for index, (kind, rule) in enumerate(zip(kinds, rules, strict=True)):
                found[f"{name}.{index:02}_{kind}"] = rule
    return dict(sorted(found.items()))
