"""What every package may import: shape letters, errors, registries, trees, matmuls.

`types` is the key to the letters in names. `errors` gives each class of user error its
exit code, `registry` finds plug-ins by name, `axes` lists mesh and logical axes,
`pytree` selects parameters by name, `matmul` is the einsum of every layer.
"""
