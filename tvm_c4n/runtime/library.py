"""Compiled libraries in this process: each is loaded once and leaves with its last user.

TVM's own loader keeps every module until the process ends, one more for each call: 0.7 MB for a
model of 19 million parameters. It may not unload a library whose code made objects that live on; a
compiled model makes none, its tensors are the virtual machine's. Two modules of one file would
share the variables in which its code keeps its module, so that the end of one breaks the other:
hence one module for all engines.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from tvm_c4n._tvm_runtime import VirtualMachine, load_module
from tvm_c4n.errors import ArtifactError
from tvm_c4n.ops.host import host_features, host_machine
from tvm_c4n.runtime.artifact import MANIFEST, Artifact

# What `build_model` makes.
FUNCTIONS = ("step", "prefill", "score")
BATCH_STEP = "batch_step"


class Library:
    """A library of compiled code, open as long as somebody holds this.

    Attributes
    ----------
    module : tvm_ffi.Module
        For `VirtualMachine`, which each engine has of its own.
    """

    def __init__(self, file: Path):
        self.module: Any = load_module(str(file), keep_module_alive=False)


_open: WeakValueDictionary[Path, Library] = WeakValueDictionary()
_lock = threading.Lock()


def load_library(file: Path) -> Library:
    """Return the library in a file; the same object as long as one is in use."""
    path = file.resolve()
    with _lock:
        found = _open.get(path)
        if found is None:
            found = _open[path] = Library(path)
        return found


def open_machine(library: Library, artifact: Artifact) -> Any:
    """Return a virtual machine whose functions take an artifact's states and tensors.

    Parameters
    ----------
    library : Library
    artifact : Artifact

    Raises
    ------
    ArtifactError
        Names the first tensor that is missing, or one too many.
    """
    machine = VirtualMachine(library.module)
    arity, name_of = (machine.module[f"get_function_{what}"] for what in ("arity", "param_name"))
    tensors = len(artifact.manifest.tensors)
    given = 1 + len(artifact.manifest.states) + tensors
    batched = (BATCH_STEP,) if artifact.manifest.batch else ()
    for function in (*FUNCTIONS, *batched):
        # A batched step takes slots, too.
        takes = arity(function) - (function == BATCH_STEP)
        if given < takes:
            wrong = f"tensor {tensors} is missing ({name_of(function, given)} of {function})"
        elif given > takes:
            wrong = f"tensor {tensors - given + takes} is one too many for {function}"
        else:
            continue
        raise ArtifactError(f"{artifact.path / MANIFEST}: {wrong}; compile the model again")
    return machine


def check_machine(artifact: Artifact) -> None:
    """Refuse code that would crash here.

    Raises
    ------
    ArtifactError
        It was compiled for another kind of machine, or for CPU features that this one lacks.
    """
    manifest = artifact.manifest
    here = host_machine()
    if manifest.triple.split("-")[0] != here:
        raise ArtifactError(
            f"{artifact.path} was compiled for {manifest.triple}, this machine is {here}: "
            "compile with --target host"
        )
    missing = sorted(set(manifest.features) - host_features())
    if missing:
        raise ArtifactError(
            f"{artifact.path} needs CPU features that this machine lacks ({', '.join(missing)}): "
            "compile again here"
        )
