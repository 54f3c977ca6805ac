"""What every package may import: errors, registries, parameter trees, matmuls.

Read `types` first: it is the key to the shape letters in all names.
"""
