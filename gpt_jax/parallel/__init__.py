"""One program on many devices: meshes, sharding rules, collectives, processes.

Read `sharding` first: a new way to parallelise is an entry in its PRESETS.
"""
