"""Heal a pruned folder: train it towards its teacher, write it as a new folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from tvm_c4n._deprecation import renamed_keywords
from tvm_c4n._version import __version__
from tvm_c4n.checkpoint import C4nCheckpoint, C4nWriter, Checkpoint, export_dense, open_checkpoint
from tvm_c4n.checkpoint.hub_names import name_of
from tvm_c4n.checkpoint.model_card import base_of_pruned
from tvm_c4n.errors import CheckpointError, RecipeError
from tvm_c4n.healing.card import healing_card
from tvm_c4n.healing.distil import Distance, Teacher, to_tensor
from tvm_c4n.healing.interrupts import interrupts
from tvm_c4n.healing.judging import HELD_OUT, Judge, Judgement
from tvm_c4n.healing.processes import Processes, Spread, joined, whole
from tvm_c4n.healing.settings import HealSettings
from tvm_c4n.healing.state import load_state, save_state, state_path
from tvm_c4n.healing.student import Output, Student
from tvm_c4n.healing.tokens import Windows, read_tokens
from tvm_c4n.healing.train import Trainer
from tvm_c4n.model.config import check_tensors, check_values
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.torch_blocks.device import memory_errors

# Steps between two reports of a GPU, which waits while a loss is read; others report each step.
REPORT_STEPS = 10
MEMORY_REMEDY = "raise --accumulate, or --shard the run between several GPUs"


@dataclass(frozen=True)
class HealReport:
    """A healing; ``heal.json`` of the folder holds it.

    Attributes
    ----------
    pruned, teacher : str
        Names of the folders.
    settings : dict
        See `HealSettings`.
    text_tokens : int
        Different tokens that were trained on.
    before, after : Distance
        On the held-out windows: of the folder that came in, and of the folder as written.
    judged : dict of str to Judgement
        The same by the name of each text that was given to judge by.
    device : str
    run_secs : float
        This call's; a run that was resumed has had others before.
    """

    pruned: str
    teacher: str
    settings: dict[str, int | float]
    text_tokens: int
    before: Distance
    after: Distance
    judged: dict[str, Judgement]
    device: str
    run_secs: float

    @property
    def worst(self) -> str | None:
        """Name of the judged text with the largest ratio after healing; None without any."""
        if not self.judged:
            return None
        return max(self.judged, key=lambda name: self.judged[name].after.ratio)


@renamed_keywords(twin="dense_export")
def heal(
    pruned: str | Path,
    out: str | Path,
    teacher: str | Path,
    data: Sequence[str | Path],
    settings: HealSettings | None = None,
    *,
    judge: Mapping[str, str | Path] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    overwrite: bool = False,
    dense_export: bool = True,
    accumulate: int = 1,
    shard: bool = False,
) -> HealReport | None:
    """Train a pruned model on, and write it as a C4n folder of the same patterns and dtypes.

    A run that is interrupted leaves ``OUT.healing.safetensors``; the same call resumes from there.
    The same seed gives the same bytes on the same machine. Under torchrun all processes share each
    batch; another number of them may resume.

    Parameters
    ----------
    pruned : str or Path
        C4n folder.
    out : path
        Appears when everything is done, or not at all.
    teacher : str or Path
        The dense model that ``pruned`` was made from.
    data : list of path
        Text or tokens to train on, see `read_tokens`.
    settings : HealSettings, optional
    judge : dict of str to path, optional
        Texts by name that are measured whole before and after, and never trained on: of each kind
        that the model is for, and of one that ``data`` lacks.
    device : str
        ``"cpu"`` (slow: for small models), ``"cuda"`` or ``"cuda:1"`` (needs Triton).
    progress : callable, optional
        ``progress(what, done, total)``.
    overwrite : bool
        Replace an existing C4n folder.
    dense_export : bool
        Also write ``out/dense``, see `tvm_c4n.prune`.
    accumulate : int
        Parts that a process's share of each batch is trained on in, to need less memory.
    shard : bool
        Under torchrun: share weights, gradients and the optimiser's state between the processes.

    Returns
    -------
    HealReport
        None in the processes of torchrun but the first, which writes.

    Raises
    ------
    RecipeError
        Settings, text or a number of processes that do not serve.
    CheckpointError
        A model that is damaged or does not fit the other; a state of another run.
    C4nError
        The memory of the device is too small.
    """
    began = perf_counter()
    settings = HealSettings() if settings is None else settings
    with joined(device) as processes, memory_errors(processes.device, MEMORY_REMEDY):
        _check_parts(settings, processes, accumulate, shard)
        place, progress = processes.device, progress if processes.first else None
        source, dense = open_checkpoint(pruned), open_checkpoint(teacher, progress)
        config, taught = _check(source, dense)
        tokenizer = load_tokenizer(source.path)
        tokens = read_tokens(data, tokenizer)
        windows = Windows(tokens, tokenizer, settings)
        producer = {"name": "tvm-c4n", "version": __version__}
        state = state_path(Path(out))
        with (
            C4nWriter(out, overwrite=overwrite, producer=producer)
            if processes.first
            else nullcontext()
        ) as writer:
            model = Student(dense, taught, place).requires_grad_(False)
            student = Student(source, config, place)
            judges = Judge(judge or {}, windows.held_out, tokenizer, model, place)
            if writer:
                before = judges.measure(student, progress)
            trainer = Trainer(student, settings, Spread(student, processes, shard=shard))
            run = _fingerprint(source, dense, tokens, settings)
            training = _Training(trainer, windows, settings, processes, accumulate)
            training.run(Teacher(model, windows.train, place), state, run, progress)
            if shard:
                student = _whole_student(student, source, config)
            if writer is None:
                return None
            _export(student, source, writer)
            sealed = writer.seal()
            after = judges.measure(Student(sealed, config, place), progress)
            if dense_export:
                export_dense(sealed, writer.folder / "dense")
            report = HealReport(
                pruned=name_of(source.path),
                teacher=name_of(dense.path),
                settings=settings.model_dump(),
                text_tokens=windows.train.size,
                before=before.pop(HELD_OUT),
                after=after.pop(HELD_OUT),
                judged={name: Judgement(before[name], after[name]) for name in before},
                device=_named(processes),
                run_secs=round(perf_counter() - began, 3),
            )
            writer.add_json("heal.json", asdict(report))
            base = base_of_pruned(source.path, dense.path)
            writer.add_card(healing_card(report, base, sealed, data))
        state.unlink(missing_ok=True)
        return report


def _check_parts(
    settings: HealSettings, processes: Processes, accumulate: int, shard: bool
) -> None:
    """Raise RecipeError where a batch has no equal parts, or shards are not possible."""
    count = processes.size * accumulate
    if accumulate < 1 or settings.batch % count:
        raise RecipeError(
            f"a batch of {settings.batch} has no {count} equal parts, for {processes.size} "
            f"process(es) that accumulate {accumulate}; change batch or accumulate"
        )
    if shard and not dist.is_initialized():
        raise RecipeError(
            "shard needs torchrun: torchrun --nproc-per-node 2 --no-python tvm-c4n heal ..."
        )
    if shard and settings.mask_update_fraction:
        raise RecipeError("masks cannot move where weights are sharded; leave one of both out")


def _named(processes: Processes) -> str:
    """Name what a run trained on."""
    one = "cpu"
    if processes.device.type == "cuda":
        one = torch.cuda.get_device_name(processes.device)
    return one if processes.size == 1 else f"{processes.size} x {one}"


@dataclass(frozen=True)
class _Training:
    """The steps of a run, of which this process does its share."""

    trainer: Trainer
    windows: Windows
    settings: HealSettings
    processes: Processes
    accumulate: int

    def run(self, teacher: Teacher, state: Path, run: str, progress: Progress | None) -> None:
        """Train from where the state stands to the last step."""
        settings, processes = self.settings, self.processes
        every = REPORT_STEPS if processes.device.type == "cuda" else 1
        tell = progress or (lambda *_: None)
        done = load_state(state, self.trainer.tensors(), run)
        tell("training", done, settings.steps)
        stop = False
        with interrupts(lambda: tell("stopping after this step", done, settings.steps)) as caught:
            while done < settings.steps and not stop:
                loss = self.trainer.step(done, self._parts(done, teacher))
                done += 1
                reports = done % every == 0 or done == settings.steps
                if reports:
                    value = processes.mean(loss)
                    if not np.isfinite(value):
                        raise RecipeError(f"the loss is not finite at step {done}; lower the lr")
                    tell(f"loss {value:.4f}", done, settings.steps)
                # Several processes agree on it where they wait for each other anyway.
                if processes.size == 1 or reports:
                    stop = processes.any(bool(caught))
                if stop or (done % settings.save_steps == 0 and done < settings.steps):
                    save_state(state, self.trainer.tensors(), done, run, writes=processes.first)

    def _parts(
        self, step: int, teacher: Teacher
    ) -> list[Callable[[], tuple[torch.Tensor, Output]]]:
        """Return this process's parts of a batch."""
        mine, count = self.processes.rank * self.accumulate, self.processes.size * self.accumulate
        parts = np.split(self.windows.batch(step), count)[mine : mine + self.accumulate]

        def read(rows: NDArray[np.int64]) -> tuple[torch.Tensor, Output]:
            return to_tensor(self.windows.train[rows], self.processes.device), teacher(rows)

        return [partial(read, rows) for rows in parts]


def _whole_student(student: Student, source: Checkpoint, config: ModelConfig) -> Student:
    """Return a sharded student as a whole one on the CPU; all processes call this together."""
    tensors = {name: whole(tensor).cpu() for name, tensor in student.state_dict().items()}
    found = Student(source, config, torch.device("cpu"))
    found.load_state_dict(tensors)
    return found


def _export(student: Student, source: Checkpoint, writer: C4nWriter) -> None:
    """Write the student's tensors: matrices as trained, all others as float16."""
    for name, matrix in student.stored().items():
        writer.add_weight(name, matrix.packed())
    for name, vector in student.vectors().items():
        writer.add_dense(name, vector.detach().half().cpu().numpy())
    writer.copy_extra(source)


def _check(source: Checkpoint, dense: Checkpoint) -> tuple[ModelConfig, ModelConfig]:
    """Check that the two folders are a pruned model and its teacher; returns what they are."""
    if not isinstance(source, C4nCheckpoint):
        raise CheckpointError(f"{source.path}: not a pruned folder; make one with tvm-c4n prune")
    config = describe_model(source.config)
    check_tensors(config, source)
    check_values(config, source)
    taught = describe_model(dense.config)
    # Pruning may have rotated the model; nothing else of its description changes.
    if replace(taught, head_map=None) != replace(config, head_map=None):
        raise CheckpointError(
            f"{dense.path}: has other sizes than {source.path}; "
            "the teacher is the model that was pruned"
        )
    if isinstance(dense, C4nCheckpoint) and any(e.removed for e in dense.manifest.tensors.values()):
        raise CheckpointError(
            f"{dense.path}: is pruned itself; the teacher is the dense model that was pruned"
        )
    check_tensors(taught, dense)
    check_values(taught, dense)
    return config, taught


def _fingerprint(
    source: Checkpoint, dense: Checkpoint, tokens: NDArray[np.uint16], settings: HealSettings
) -> str:
    """Hash what must not change between the parts of an interrupted run."""
    digest = sha256(repr(settings).encode())
    digest.update(tokens.tobytes())
    for checkpoint in (source, dense):
        for name in checkpoint.names():
            digest.update(name.encode() + checkpoint.dense(name).tobytes())
    return digest.hexdigest()
