"""tvm_c4n: C4n-sparse Mamba language models, pruned, compiled with Apache TVM, and run."""

__version__ = "0.1.0"
