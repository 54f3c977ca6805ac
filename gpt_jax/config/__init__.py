"""From a config file to a frozen Config: read `schema`, then `load.resolve`.

`files` finds and runs config files, `load` checks them: types and ranges by `values`,
the sections of registry entries by `options`, combinations by `checks`;
`migrate` reads what earlier versions saved. A new field is a line in `schema.py` and
one in `configs/base.py`; a renamed one is a line in `migrate.py`. What fields of one
subject allow together is that subject's `problems`, listed in `program/setup.py`; other
combinations go into `checks.py`.
"""
