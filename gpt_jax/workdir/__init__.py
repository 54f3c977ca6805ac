"""The folder of a run: its files, its starts and events, the lock of its one writer.

Read `paths.py` first. `files.py` writes small files whole or not at all;
`provenance.py` keeps run.json; `lock.py` lets one run write at a time.
"""
