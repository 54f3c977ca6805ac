"""Where files lie: a local folder or a bucket, behind the same few functions.

Read `places.py` first: it makes a path of a text, `pathlib.Path` for a folder and
`epath.Path` for a URL (`urls.py`). `objects.py` reads and writes whole files at both,
`failures.py` turns what buckets answer into StorageErrors, `versions.py` writes an
object only over the version that was read, `growing.py` appends where nothing can be
appended. `mirror.py` makes local copies by `download.py`, and `scratch_space.py` bounds
what stays of them. docs/reliability.md has the promises.
"""
