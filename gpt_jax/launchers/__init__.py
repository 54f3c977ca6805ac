"""A run as several processes, started again when one dies.

`local` starts them on this machine and ends them together; `supervise` decides after
each end whether to start again. `gpt-jax launch` is their command line; a launcher for
another place is a file here with a `run` like that of `local`, which
`commands/launch_command.py` calls by `--where`.
"""
