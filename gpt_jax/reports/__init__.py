"""The report of a study: table, figures and verdicts as files and as one page.

`report.py` collects, `tables.py` computes the table, `table_formats.py` and `page.py`
write; `studies.py` builds the pages of `docs/studies/`.
"""
