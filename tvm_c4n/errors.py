"""Errors that name cause and remedy in one line; the command line maps each to an exit code."""

from __future__ import annotations


class C4nError(Exception):
    """Base of every error that tvm_c4n raises on purpose.

    The message is one line: what is wrong, where, and what to do about it.
    """

    exit_code = 2


class RecipeError(C4nError):
    """A pruning request that cannot be carried out (unknown method, removed outside 0..3, ...)."""


class CheckpointError(C4nError):
    """A model folder or file that is missing, damaged, hostile or of an unsupported kind."""


class TargetError(C4nError):
    """A compilation target that is unknown or cannot be served on this machine."""


class ArtifactError(C4nError):
    """A compiled artifact that is missing, damaged or was made for another machine."""


class TuneError(C4nError):
    """A request to tune that cannot be carried out, or records that are damaged or do not fit."""


class DeviceError(C4nError):
    """A device that does not answer, refuses what it is asked, or runs nothing any more."""

    exit_code = 1
