"""Verifies an audit log: every record is there, unchanged, in its order."""

import dataclasses
import json
import pathlib

from gpt_jax.core.errors import DataError
from gpt_jax.safety import audit


@dataclasses.dataclass
class Report:
  """What a log that holds is."""

  records: int = 0
  head: str = audit.GENESIS
  """The hash of the last record."""
  files: list[str] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  """What is no damage: lines that a crash left unfinished."""


def verify(path, expected=()):
  """Returns the Report of a log and of the files rotated away from it.

  `expected`: hashes that were noted before; each has to be that of a record. Raises
  DataError that names file and line of the first record that does not fit.
  """
  path = pathlib.Path(path)
  files = [*audit.parts(path), path]
  report, missing = Report(), set(expected)
  if not path.exists():
    raise DataError(f'audit log {path}: no such file.')
  for file in files:
    report.files.append(str(file))
    for place, line in _lines(file, report, is_last=file == path):
      record = _record(place, line)
      _check(place, record, report)
      report.records, report.head = record['number'], record['hash']
      missing.discard(record['hash'])
      if record.get('event') == 'repaired':
        report.notes.append(
          f'{place}: {record.get("bytes")} bytes of a crash were taken off before it.'
        )
  missing.discard(audit.GENESIS)
  if missing:
    raise DataError(
      f'audit log {path}: no record has the hash {sorted(missing)[0]}: records were cut'
      ' off its end, or the whole was written anew.'
    )
  return report


def _lines(file, report, is_last):
  """Yields (place, line) of whole lines."""
  try:
    with open(file, 'rb') as opened:
      for number, line in enumerate(opened, start=1):
        place = f'{file}, line {number}'
        if line.endswith(b'\n'):
          yield place, line
        elif is_last:
          report.notes.append(
            f'{place}: is unfinished, as after a crash; the next start takes it off.'
          )
        else:
          raise DataError(f'{place}: is unfinished: its end was cut off.')
  except OSError as error:
    raise DataError(f'audit log {file}: {error}.') from error


def _record(place, line):
  try:
    record = json.loads(line)
    if not isinstance(record, dict) or type(record.get('number')) is not int:
      raise ValueError('no record')
    is_same = audit.encode(record) == line
  except (ValueError, RecursionError) as error:
    raise DataError(f'{place}: is no record of an audit log ({error}).') from error
  if not is_same:
    raise DataError(f'{place}: was changed: its hash is not that of what it says.')
  return record


def _check(place, record, report):
  number = report.records + 1
  if record['number'] > number:
    gone = record['number'] - number
    which = 'record before it is' if gone == 1 else 'records before it are'
    raise DataError(f'{place}: {gone:,} {which} missing, from number {number:,} on.')
  if record['number'] < number:
    raise DataError(
      f'{place}: stands in the wrong place: number {record["number"]:,} after'
      f' {report.records:,}.'
    )
  if record.get('previous') != report.head:
    raise DataError(
      f'{place}: does not follow from the record before it, which was replaced.'
    )
