"""Runs the OpenCL sources that TVM generates on this machine's CPU, through pocl.

TVM's wheel generates OpenCL code but has no OpenCL runtime, so what its host code would do is done
here with pyopencl: buffers, the order of the arguments, the grid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyopencl as cl
import tvm
from tvm import tirx

from tvm_c4n._tvm import For, ForKind, PrimFunc, SBlockRealize, SeqStmt
from tvm_c4n.compile.target import resolve_target

PLATFORM = "Portable Computing Language"


@dataclass
class Device:
    """A device of pocl."""

    context: Any
    queue: Any

    @classmethod
    def find(cls) -> Device:
        """Return pocl's CPU; LookupError where it is not installed."""
        try:
            platforms = cl.get_platforms()
        except cl.LogicError as error:  # no driver at all
            raise LookupError(str(error)) from error
        found = [p for p in platforms if p.name == PLATFORM]
        if not found:
            raise LookupError(f"no OpenCL platform {PLATFORM!r}")
        context = cl.Context(found[0].get_devices())
        return cls(context, cl.CommandQueue(context))

    def run(
        self, func: PrimFunc, arguments: Mapping[str, Any], tokens: int = 1
    ) -> dict[str, np.ndarray]:
        """Compile a PrimFunc that is bound to a grid, and run it once.

        Parameters
        ----------
        func : PrimFunc
            One kernel; its only symbolic length is the number of tokens.
        arguments : mapping
            Arrays and integers by the names of the parameters.
        tokens : int

        Returns
        -------
        dict
            All arrays after the run.
        """
        kernel = Compiled(func)
        memory = {
            name: cl.Buffer(
                self.context,
                cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR,
                hostbuf=np.ascontiguousarray(value),
            )
            for name, value in arguments.items()
            if isinstance(value, np.ndarray)
        }
        program = cl.Program(self.context, kernel.source).build()
        arguments_in_order = [
            memory.get(name) or np.int64(arguments.get(name, tokens)) for name in kernel.arguments
        ]
        groups, items = kernel.grid(tokens)
        whole = [g * i for g, i in zip(groups, items, strict=True)]
        getattr(program, kernel.name)(self.queue, whole, items, *arguments_in_order)
        results = {}
        for name, buffer in memory.items():
            results[name] = np.empty_like(arguments[name])
            cl.enqueue_copy(self.queue, results[name], buffer)
        return results


@dataclass
class Compiled:
    """The OpenCL code of a PrimFunc, and what its host code would know of it."""

    func: PrimFunc

    @cached_property
    def source(self) -> str:
        """The code."""
        func = self.func.with_attr("global_symbol", "main")
        library = tvm.compile(tvm.IRModule({"main": func}), resolve_target("adreno"))
        (device_code,) = library.mod.imports
        return str(device_code.inspect_source())

    @property
    def _signature(self) -> re.Match[str]:
        (found,) = re.finditer(r"__kernel void (\w+)\(([^)]*)\) {", self.source)
        return found

    @property
    def name(self) -> str:
        """Name of the only kernel."""
        return self._signature[1]

    @property
    def arguments(self) -> list[str]:
        """Names of the parameters in the kernel's order."""
        names = [argument.split()[-1] for argument in self._signature[2].split(",")]
        return [name.removesuffix("_ptr") for name in names]

    def grid(self, tokens: int) -> tuple[list[int], list[int]]:
        """Return the number of groups and of their items along x, y and z."""
        sizes = {"blockIdx": [1, 1, 1], "threadIdx": [1, 1, 1]}

        for stmt in _nest(self.func.body):
            if isinstance(stmt, For) and stmt.kind == ForKind.THREAD_BINDING:
                kind, axis = stmt.thread_binding.thread_tag.split(".")
                fixed = isinstance(stmt.extent, tirx.IntImm)
                sizes[kind]["xyz".index(axis)] = int(stmt.extent) if fixed else tokens
        return sizes["blockIdx"], sizes["threadIdx"]


def _nest(stmt: Any) -> Iterator[Any]:
    """Yield a statement and those inside it: loops, blocks and what follows each other."""
    yield stmt
    if isinstance(stmt, SeqStmt):
        inner = list(stmt.seq)
    elif isinstance(stmt, SBlockRealize):
        inner = [stmt.block.body]
    else:
        inner = [stmt.body] if isinstance(stmt, For) else []
    for each in inner:
        yield from _nest(each)
