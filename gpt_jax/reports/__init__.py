"""Reports of studies and of fine-tuned runs, as files and as one page.

A run: `task_report.py` collects, with `task_examples.py` (single predictions) and
`task_splits.py` (the data), `task_page.py` writes. A study: table, figures, verdicts.
`report.py` collects, `tables.py` computes the table, `table_formats.py` and `page.py`
write; `studies.py` builds the pages of `docs/studies/`.
"""
