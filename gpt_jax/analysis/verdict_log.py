"""verdicts.jsonl in a study's folder: every verdict that a report has given, for good.

One JSON object a line, only ever appended: date, commit, claim, version, digest and
text of the rule, verdict, numbers, points with digests of their configs. A verdict is
written when it differs from the last one of its claim. Readers skip a line that a kill
has left unfinished; the next writer ends it. In a bucket the object is written over the
version that was read.
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import pathlib

from gpt_jax.analysis.verdicts import NOT_ENOUGH_DATA
from gpt_jax.core.errors import StorageError
from gpt_jax.storage import versions
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote
from gpt_jax.sweeps import loading
from gpt_jax.sweeps.mistakes import Mistake
from gpt_jax.workdir import provenance

FILE = 'verdicts.jsonl'
COMPARED = ('version', 'digest', 'verdict', 'numbers', 'points')


def read(folder):
  """Returns the log's entries in order; none without a log."""
  path = place(folder) / FILE
  try:
    return _entries(path.read_bytes()) if path.exists() else []
  except OSError as error:
    raise StorageError(f'cannot read {path} ({error.strerror or error}).') from error


def require_same_rules(study, verdicts, logged):
  """Raises ConfigError where a rule has changed since a verdict of its version."""
  problems = []
  for verdict in verdicts:
    claim = verdict.claim
    given = [
      entry
      for entry in logged
      if entry['claim'] == claim.name and entry['verdict'] != NOT_ENOUGH_DATA
    ]
    newest = max((entry['version'] for entry in given), default=0)
    same = [entry for entry in given if entry['version'] == claim.version]
    if claim.version < newest:
      text = (
        f'claim {claim.name!r}: version={claim.version}, but {study.folder / FILE} has'
        f' a verdict of version {newest}; expected at least that'
      )
      problems.append(Mistake(text, (claim.name,)))
    elif other := [entry for entry in same if entry['digest'] != verdict.digest]:
      text = (
        f'claim {claim.name!r}: its rule has changed since {other[-1]["date"]}, when'
        f' version {claim.version} was {other[-1]["verdict"]!r}; set version='
        f'{newest + 1} (the old verdict stays in {study.folder / FILE}), or restore the'
        ' rule'
      )
      problems.append(Mistake(text, (claim.name,)))
  loading.Source(study.path).require_none(problems)


def record(study, verdicts, now=None):
  """Appends the verdicts that differ from the last ones; returns their entries.

  Two reports at once write one after the other. Raises StorageError where the log
  cannot be written.
  """
  now = now or datetime.datetime.now(datetime.UTC)
  git = provenance.git_state(pathlib.Path(__file__).parent) or {}
  entries = [_make(study, verdict, now, git) for verdict in verdicts]
  path = study.folder / FILE
  # Who reads another's runs needs no right to write there, as long as all is known.
  if not _changed_entries(entries, read(study.folder)):
    return []
  if is_remote(path):
    return _append_object(path, entries)
  try:
    study.folder.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+b', buffering=0) as file:
      fcntl.flock(file, fcntl.LOCK_EX)  # the system takes it back from a killed process
      file.seek(0)
      fresh, lines = _lines_to_add(entries, file.readall())
      if fresh:
        file.write(lines)
        with contextlib.suppress(OSError):  # some network file systems cannot
          os.fsync(file.fileno())
  except OSError as error:
    raise StorageError(
      f'cannot write {path} ({error.strerror or error}); make it writable, free some'
      ' space, or give another folder by --workdir.'
    ) from error
  return fresh


def _append_object(path, entries):
  while True:
    found = versions.read(path)
    content, version = (found.content, found.version) if found else (b'', '')
    fresh, lines = _lines_to_add(entries, content)
    # None: another report has written meanwhile.
    if not fresh or versions.write_if(path, content + lines, version):
      return fresh


def _lines_to_add(entries, content):
  """Returns (those of `entries` that are new to a log's `content`, their lines)."""
  fresh = _changed_entries(entries, _entries(content))
  start = '\n' * (content != b'' and not content.endswith(b'\n'))
  return fresh, (start + ''.join(json.dumps(one) + '\n' for one in fresh)).encode()


def earlier(verdicts, logged):
  """Returns the last entry of each older version, and of claims that are gone.

  With that of the present version where there is not enough data now: its points have
  another config, or are gone.
  """
  now = {
    verdict.name: verdict.claim.version
    for verdict in verdicts
    if verdict.verdict != NOT_ENOUGH_DATA
  }
  last = {
    (entry['claim'], entry['version']): entry
    for entry in logged
    if entry['verdict'] != NOT_ENOUGH_DATA
  }
  return tuple(e for (name, version), e in last.items() if now.get(name) != version)


def _changed_entries(entries, logged):
  """Returns those of `entries` that differ from the last one of their claim."""
  last = {entry['claim']: entry for entry in logged}
  return [entry for entry in entries if _has_changed(entry, last.get(entry['claim']))]


def _has_changed(entry, last):
  if last is None:
    return entry['verdict'] != NOT_ENOUGH_DATA or bool(entry['points'])
  return any(entry[key] != last.get(key) for key in COMPARED)


def _make(study, verdict, now, git):
  used = {point.name: point for point in study.points if point.name in verdict.points}
  return {
    'date': now.isoformat(timespec='seconds'),
    'commit': git.get('commit'),
    'dirty': git.get('dirty'),
    'claim': verdict.name,
    'kind': verdict.claim.kind,
    'version': verdict.claim.version,
    'verdict': verdict.verdict,
    'numbers': dict(verdict.numbers),
    'note': verdict.note,
    'statistics': verdict.statistics,
    'digest': verdict.digest,
    'rule': verdict.rule,
    'points': {
      name: _digest(point.workdir / 'config.json') for name, point in used.items()
    },
  }


def _digest(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def _entries(content):
  return [entry for entry in map(_entry, content.split(b'\n')) if entry]


def _entry(line):
  """Returns the entry of a line; None for one that is not whole."""
  try:
    entry = json.loads(line)
  except ValueError:
    return None
  keys = {'claim', 'date', 'digest', 'verdict', 'version'}
  return entry if isinstance(entry, dict) and keys <= entry.keys() else None
