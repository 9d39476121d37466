"""Compile pruned models to artifacts: targets, the build and the linker."""
