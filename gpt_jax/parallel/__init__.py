"""One program on many devices: meshes, sharding rules, collectives, processes.

Read `sharding` first: a preset maps logical axes to mesh axes (a new one is an entry in
PRESETS). `mesh` arranges devices, `sharded_matmul` writes out the collectives of every
layer, `chips` and `compiler_options` know the hardware, `multihost` joins processes and
`sync` lets them agree.
"""
