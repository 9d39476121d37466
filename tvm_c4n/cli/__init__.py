"""The command line, `tvm-c4n`: files here parse arguments and print results, nothing else.

No module here imports tvm, torch or numpy before a command runs: `tvm-c4n --help` must not wait.
"""
