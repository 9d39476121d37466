"""The names of the attributes through which passes, schedules and `tvm_c4n.compile` meet.

All are attributes of PrimFuncs but `CONSTANTS`, which is one of an IRModule.
"""

from __future__ import annotations

# Before the name of every field of an operator's attributes (see `tvm_c4n.ops.spec`).
PREFIX = "c4n."
# Which operator a PrimFunc is.
KIND = PREFIX + "kind"
# The schedule rule that wrote a kernel, with its tuned decisions in brackets.
SCHEDULE = PREFIX + "schedule"
# The kinds of the operators that a region runs, with spaces between.
REGION = PREFIX + "region"
# The rules that wrote a region's kernels, with "; " between.
REGION_SCHEDULES = PREFIX + "schedules"
# The arrays that `relay_passes.LiftConstants` took out of a module.
CONSTANTS = PREFIX + "constants"
