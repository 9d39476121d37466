"""Models in the format of their authors: state-spaces' Mamba-1 and Mamba-2, Codestral Mamba."""

from tvm_c4n.frontend.converted import Converted
from tvm_c4n.frontend.original.convert import convert

__all__ = ["Converted", "convert"]
