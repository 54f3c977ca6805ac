"""Tables: tsv and csv, with and without a header; a record for each row.

Without a header the keys are the numbers of the columns, '0', '1', ... Fields of tsv
are as they stand; those of csv may be quoted (RFC 4180).
"""

import csv
import io

from gpt_jax.core.errors import DataError
from gpt_jax.examples import content
from gpt_jax.examples.record import Record, shown


def read_tsv(paths, encoding):
  """Yields the rows of files that are separated by tabs, without a header."""
  return _records(paths, encoding, _tsv_rows, has_header=False)


def read_tsv_header(paths, encoding):
  """Yields the rows of files that are separated by tabs, after one with names."""
  return _records(paths, encoding, _tsv_rows, has_header=True)


def read_csv(paths, encoding):
  """Yields the rows of files that are separated by commas, without a header."""
  return _records(paths, encoding, _csv_rows, has_header=False)


def read_csv_header(paths, encoding):
  """Yields the rows of files that are separated by commas, after one with names."""
  return _records(paths, encoding, _csv_rows, has_header=True)


def _records(paths, encoding, rows_of, has_header):
  for path in paths:
    names, first = None, ''
    for place, row in rows_of(path, encoding):
      if names is None:
        names, first = _names(row, place, has_header), place
        if has_header:
          continue
      if len(row) != len(names):
        raise DataError(
          f'{place}: {len(row)} columns ({shown(row)}); expected {len(names)}, as in'
          f' {first}. {_FIX[rows_of]}'
        )
      yield Record(dict(zip(names, row, strict=True)), place)


def _names(row, place, has_header):
  if not has_header:
    return [str(i) for i in range(len(row))]
  if twice := sorted({name for name in row if row.count(name) > 1}):
    raise DataError(
      f'{place}: the header names {twice[0]!r} twice; rename one, or read a file'
      ' without a header by task.reader=tsv or csv.'
    )
  return row


def _tsv_rows(path, encoding):
  for place, line in content.filled_lines(path, encoding):
    yield place, line.split('\t')


def _csv_rows(path, encoding):
  lines = io.StringIO(content.text_of(path, encoding), newline='')
  # Python's limit of 131,072 characters a field is one setting of the process.
  limit = csv.field_size_limit(2**31 - 1)
  start, found = 1, []
  reader = csv.reader(lines, strict=True)
  try:
    for row in reader:
      if row:
        found.append((f'{path}, line {start}', row))
      start = reader.line_num + 1
  except csv.Error as error:
    raise DataError(
      f'{path}, line {start}: not csv ({error}); a field with a quote in it stands in'
      ' quotes, with "" for each one inside. For fields as they stand use tabs.'
    ) from error
  finally:
    csv.field_size_limit(limit)
  yield from found


_FIX = {
  _tsv_rows: 'Mend the row: no text has a tab in it.',
  _csv_rows: 'Mend the row: a text with a comma in it stands in quotes.',
}
