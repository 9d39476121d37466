"""Regions: several kernels in one PrimFunc, with one parallel launch.

- `signature`: what a region takes and returns, and what these are from layer to layer.
- `parallel`: the launch, the barriers in it, and which kernels can be inside.
- `select`: which calls of a dataflow block become one region (for `FuseRegions`).
- `loop_fusion`: which kernels of a region share a loop.
- `emit`: the PrimFunc of one layer's kernels.
- `roll`: which calls of regions are the layers of one loop, and their weights (for `RollLayers`).
- `kernel`: the PrimFunc that loops over layers.
"""
