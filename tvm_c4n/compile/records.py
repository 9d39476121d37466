"""Records of tuning: one folder for each machine, and the best decisions that it holds.

``manifest.json`` says for which machine the records count, ``best.json`` has the decisions that
compiling takes, ``confirmations.json`` the comparisons behind them (`tvm_c4n.tuning.comparison`).
The other files of the folder are MetaSchedule's database. docs/reference/format-records.md
specifies them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schedules import Tuned
from schedules.base import Decisions, current_names
from tvm_c4n._tvm import Target, tvm
from tvm_c4n.checkpoint.files import make_folder, write_atomically
from tvm_c4n.checkpoint.json_reading import read_record
from tvm_c4n.checkpoint.reading import read_bytes
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.compile.target import features_of, is_native, triple_of
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.runtime.describe import cpu_model, cpu_name

MANIFEST, BEST, CONFIRMATIONS = "manifest.json", "best.json", "confirmations.json"
SHIPPED = Path(__file__).parents[2] / "schedules" / "records"
# The largest file that is shipped has 30 kB.
MAX_BYTES = 64 << 20
_AGAIN = "'tvm-c4n tune' makes folders of records: give one, or delete it and tune again"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(_Record):
    """What records depend on; they count for no other machine.

    Attributes
    ----------
    triple, isa : str
        What kernels are compiled for, without the vendor: ``aarch64-linux-android``, ``neon``.
    cpu : str
        The processor's name for this machine, LLVM's name of it for another one.
    model : str
        Of this machine's processor family, model and stepping: several have one name. Empty for
        another machine, and in records of format 1, which count for all processors of the name.
    features : list of str
        Features that the target has beyond those of `cpu`, sorted.
    tvm : str
        TVM's version: another one generates other code.
    """

    triple: str
    isa: str
    cpu: str
    model: str = ""
    features: list[str]
    tvm: str

    def difference(self, here: Machine) -> tuple[str, Any, Any] | None:
        """Return what keeps records of this machine from counting `here`: name and both values."""
        for name, value in here.model_dump().items():
            there = getattr(self, name)
            if there != value and (name, there) != ("model", ""):
                return name, there, value
        return None


class RecordsManifest(_Record):
    """The content of manifest.json.

    Attributes
    ----------
    format : int
    target : Machine
    threads : int
        Threads of the device's pool.
    emulated : bool
        The device is an emulator.
    """

    format: Literal[1, 2] = 2
    target: Machine
    threads: int = Field(ge=1)
    emulated: bool


# Decisions by name; names of earlier versions are read, too.
DecisionsInFile = Annotated[dict[str, int], AfterValidator(current_names)]


def _whole(spec: dict[str, int | float | str | bool]) -> dict[str, int | float | str | bool]:
    """Refuse an operator that lacks what every version has written."""
    needed = ["kind", "dynamic"]
    if spec.get("kind") == "linear":
        needed += ["rows", "cols", "removed", "dtype"]
    for name in needed:
        if name not in spec:
            raise ValueError(f"{name} is missing")
    return spec


class Best(_Record):
    """The decisions for an operator, and the seconds with them and with the default."""

    spec: Annotated[dict[str, int | float | str | bool], AfterValidator(_whole)]
    decisions: DecisionsInFile
    seconds: float = Field(gt=0)
    default_seconds: float = Field(gt=0)


class _BestFile(_Record):
    format: Literal[1] = 1
    kernels: list[Best]


def machine_of(target: Target) -> Machine:
    """Describe the machine of a target; a target of this machine's triple is this machine."""
    if target.kind.name != "llvm":
        raise TuneError(
            f"only kernels of CPUs are tuned, not those of a target of kind {target.kind.name!r}: "
            "give host, arm64-android or arm64-linux"
        )
    parts, native = triple_of(target).split("-"), is_native(target)
    return Machine(
        # conda's and Debian's LLVM put a vendor second, or none.
        triple="-".join([parts[0], *(p for p in parts[1:] if p not in ("conda", "pc", "unknown"))]),
        isa=isa_of(target).name,
        cpu=cpu_name() if native else str(target.attrs.get("mcpu", "generic")),
        model=cpu_model() if native else "",
        features=features_of(target),
        tvm=tvm.__version__,
    )


def key_of(spec: OpSpec) -> dict[str, Any]:
    """Return an operator as it stands in files: its kind and fields."""
    return {"kind": spec.kind, **spec.values()}


def title_of(spec: Mapping[str, Any]) -> str:
    """Name an operator as it stands in files: ``step 768x384 n=2 int4 +residual``."""
    step = "prefill" if spec["dynamic"] else "step"
    if spec["kind"] != "linear":
        sizes = (spec.get(name) for name in ("channels", "heads", "head_dim", "state", "width"))
        return f"{step} {spec['kind']} {'x'.join(str(n) for n in sizes if n is not None)}"
    extra = "".join(f" +{name}" for name in ("bias", "residual") if spec.get(name))
    return f"{step} {spec['rows']}x{spec['cols']} n={spec['removed']} {spec['dtype']}{extra}"


@dataclass(frozen=True)
class Records:
    """A folder of records whose manifest has been read."""

    path: Path
    manifest: RecordsManifest
    best: list[Best]

    def tuned(self) -> Tuned:
        """Return what gives `schedules.choose` the decisions for an operator."""
        found = {_frozen(b.spec): b.decisions for b in self.best}

        def decisions(spec: OpSpec) -> Decisions | None:
            return found.get(_frozen(key_of(spec)))

        return decisions


def _frozen(spec: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return an operator as a key, without what is 0: later fields are 0 where they are new."""
    return tuple(sorted((name, value) for name, value in spec.items() if value))


def open_records(path: Path, target: Target | None = None) -> Records:
    """Read a folder of records.

    Parameters
    ----------
    path : Path
    target : tvm.target.Target, optional
        Refuse records of another machine.

    Raises
    ------
    TuneError
        It is no such folder, is damaged, or was measured on another machine.
    """
    manifest = read_record(path / MANIFEST, RecordsManifest, MAX_BYTES, _AGAIN, TuneError)
    best: list[Best] = []
    if (path / BEST).exists():
        best = read_record(path / BEST, _BestFile, MAX_BYTES, _AGAIN, TuneError).kernels
    if target is not None:
        check_machine(path, manifest, machine_of(target))
    return Records(path, manifest, best)


def check_machine(path: Path, manifest: RecordsManifest, machine: Machine) -> None:
    """Raise TuneError if records are of another machine; name the first difference."""
    found = manifest.target.difference(machine)
    if found is not None:
        name, there, here = found
        raise TuneError(
            f"{path} has records of {name} {there!r}, this is {here!r}: give another folder"
        )


def shipped_for(target: Target) -> Records | None:
    """Return the records of the package for a target's machine, measured on a real device.

    Those that say the processor's model go before those that have only its name.
    """
    if target.kind.name != "llvm":
        return None
    machine = machine_of(target)
    fits = [
        records
        for records in map(open_records, sorted(SHIPPED.glob("*/")))
        if not records.manifest.emulated and not records.manifest.target.difference(machine)
    ]
    return max(fits, key=lambda records: records.manifest.target.model, default=None)


def write_manifest(path: Path, manifest: RecordsManifest) -> None:
    """Make a folder of records, or check that it is one of the same machine and threads."""
    if (path / MANIFEST).is_file():
        existing = open_records(path).manifest
        check_machine(path, existing, manifest.target)
        if (existing.threads, existing.emulated) != (manifest.threads, manifest.emulated):
            raise TuneError(
                f"{path} has records of {existing.threads} threads"
                f"{', emulated' if existing.emulated else ''}: give another folder"
            )
        return
    make_folder(path)
    write_atomically(path / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def export(records: Records, out: Path) -> None:
    """Write what compiling takes, and the measurements that it rests on, to a folder.

    A folder that is there already keeps its other files; a new one appears whole or not at all.
    """
    confirmations = None
    if os.path.lexists(records.path / CONFIRMATIONS):
        confirmations = read_bytes(records.path / CONFIRMATIONS, MAX_BYTES, _AGAIN, TuneError)
    with ExitStack() as stack:
        folder = out
        if not out.exists():
            folder = stack.enter_context(FolderTransaction(out, None, lambda _: False)).folder
        write_manifest(folder, records.manifest)
        write_best(folder, records.best)
        if confirmations is not None:
            write_atomically(folder / CONFIRMATIONS, confirmations)


def write_best(path: Path, best: list[Best]) -> None:
    """Replace best.json."""
    write_atomically(path / BEST, _BestFile(kernels=best).model_dump_json(indent=1) + "\n")
