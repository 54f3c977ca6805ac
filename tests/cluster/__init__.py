"""Real servers for tests: SLURM with two nodes on this machine, a bucket of no cloud.

`make cluster` installs them, starts them, runs the tests marked `cluster` and ends what
it has started. Each has its own folder, key and socket: a SLURM that is installed here
already is not touched, but for a line in /etc/hosts while the tests run.
"""
