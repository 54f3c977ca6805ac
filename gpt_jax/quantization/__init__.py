"""Weights in few bits: formats of a kernel, and matmuls with what is stored.

`packed.py` is what the rest calls: it tells by the dtype of an array how it is stored.
`linear.py` multiplies, `matmul_cpu.py` has what a CPU needs for that. A format is a
file such as `int8.py` and a line in `packed.FORMATS`. docs/compress.md has who stores
what.
"""
