"""GGUF files of llama.cpp, as Hugging Face folders: the inverse of its own converter."""

from tvm_c4n.frontend.gguf.convert import convert_gguf

__all__ = ["convert_gguf"]
