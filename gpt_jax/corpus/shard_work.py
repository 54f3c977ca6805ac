"""Makes one shard of one part of the corpus, or surveys its documents."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.corpus import encode, shard_files
from gpt_jax.corpus.plan import DIVIDED, SPLITS, Member, Part
from gpt_jax.corpus.quality import Filter, Known
from gpt_jax.corpus.readers import Record, text_of
from gpt_jax.corpus.shard_report import ShardReport
from gpt_jax.corpus.step import LONG_BYTES, Document, Step
from gpt_jax.data import encodings, splits
from gpt_jax.data.manifest import ShardRecord
from gpt_jax.data.tokenizer import Tokenizer

TRAIN = 'train'


@dataclasses.dataclass(frozen=True)
class Job:
  """All that a process has to know to make shards."""

  members: dict[str, Member]
  parts: tuple[Part, ...]
  tokenizer: Tokenizer
  append_eos: bool
  steps: tuple[Step, ...]
  out: Any  # path of `storage.places`
  part_bytes: int


@dataclasses.dataclass(frozen=True)
class Kept:
  """A document that stays, with the stretch of it that is of each split."""

  record: Record
  stretches: tuple[tuple[str, int, int], ...]  # (split, first byte, end)
  copies: int = 1


def write(job: Job, number, known: Known):
  """Writes shard `number`; `known`: of this shard."""
  folder = shard_files.shard_folder(job.out, number)
  folder.mkdir(parents=True, exist_ok=True)
  shard_files.remove_unfinished(folder)
  part, report = job.parts[number], ShardReport(len(job.steps))
  documents = _in_order(job, number, known, report)
  fields = job.members[part.member].readers[part.split].fields
  written = encode.write(job, folder, fields, documents, report)
  record = ShardRecord(number, part.member, written, report.to_dict())
  shard_files.write_record(folder, record)


def _in_order(job, number, known, report):
  """Yields all that is written: documents in their order, then their further copies.

  Copies lie far apart, as a model that reads both at once has only to copy.
  """
  most = 1
  for kept, _ in walk(job, number, Filter(job.steps, known), report):
    if kept is not None:
      most = max(most, kept.copies)
      yield kept
  for copy in range(2, most + 1):
    again, scratch = Filter(job.steps, known), ShardReport(len(job.steps))
    for kept, _ in walk(job, number, again, scratch):
      if kept is not None and kept.copies >= copy:
        if trained := tuple(one for one in kept.stretches if one[0] == TRAIN):
          yield dataclasses.replace(kept, stretches=trained)


def survey(job: Job, number, known: Known, step_number):
  """Returns (what global step `step_number` has to know of a shard's documents, ...).

  And `Filter.refused` of all steps up to that one.
  """
  step, rows, chosen = job.steps[step_number], [], Filter(job.steps, known)
  for kept, document in walk(job, number, chosen, ShardReport(len(job.steps))):
    if kept is not None:
      rows.append(step.survey(document))
  return np.array(rows, step.dtype).reshape(len(rows), *step.shape), chosen.refused


def walk(
  job: Job, number, chosen: Filter, report
) -> Iterator[tuple[Kept | None, Document | None]]:
  """Yields (Kept or None, Document) of the documents of a shard, in order.

  Those that are left out are counted in `report`, and are None. A Document is made only
  where there are steps.
  """
  part = job.parts[number]
  member = job.members[part.member]
  for record in member.readers[part.split].records(part.where):
    if problem := _damage(record):
      report.damaged(str(problem))
      if not member.max_corrupt_records:
        raise problem
      report.require_fewer_damaged(member.max_corrupt_records)
      continue
    assert isinstance(record, Record)
    size = _num_bytes(record)
    if not size:
      report.empty()
      continue
    report.read(size)
    digest = record.digest() if job.steps or part.split == DIVIDED else b''
    stretches = _stretches(record, part, member, digest)
    if not job.steps:
      yield Kept(record, stretches), None
      continue
    document = _document(record, part, member, stretches, digest, size)
    left = chosen.judge(document)
    if left is not None:
      report.left_out(left, document, size, job.steps[left.step].example)
      yield None, document
      continue
    if not chosen.is_last:  # a survey, which sees whole documents
      yield Kept(record, stretches), document
      continue
    stretches = _cut(job, stretches, document, chosen, report)
    yield Kept(record, stretches, chosen.copies(document)), document


def _damage(record):
  """Returns the DataError of a record that is none, or not UTF-8; None for others."""
  if isinstance(record, DataError):
    return record
  if isinstance(record.content, np.ndarray):
    return None
  if found := encodings.first_error(record.content):
    return encodings.not_utf8(record.place, *found, record.content)
  return None


def _num_bytes(record):
  if isinstance(record.content, np.ndarray):
    return record.content.nbytes
  if record.document is not None:
    ids = np.asarray(record.document.get('tokens', ()))
    return len(text_of(record.document).encode()) + ids.nbytes
  return len(record.content)


def _stretches(record, part, member, digest):
  """Returns ((split, first byte, end), ...) of a document."""
  size = len(record.content)
  if part.split != DIVIDED:
    return ((part.split, 0, size),)
  if not member.is_cut:
    (split,) = [name for name in SPLITS if splits.contains_digest(name, digest)]
    return ((split, 0, size),)
  found = [(name, *splits.byte_range(name, record.content)) for name in SPLITS]
  return tuple(stretch for stretch in found if stretch[1] < stretch[2])


def _cut(job, stretches, document, chosen, report):
  """Returns `stretches` without what steps cut out of the training ones."""
  if not document.is_divisible:
    return stretches
  for left, pieces in chosen.cuts(document):
    pieces = _in_bytes(document, pieces)
    found = []
    for split, start, end in stretches:
      inside = [(max(start, a), min(end, b)) for a, b in pieces]
      kept = [(split, a, b) for a, b in inside if a < b]
      found += kept if split == TRAIN else [(split, start, end)]
    gone = _total(stretches) - _total(found)
    stretches = tuple(found)
    report.left_out(left, document, gone, job.steps[left.step].example)
  return stretches


def _total(stretches):
  return sum(end - start for _, start, end in stretches)


def _in_bytes(document, pieces):
  """Returns `pieces` of the text, in characters, as stretches of all its bytes."""
  text, found = document.text, []
  for start, end in pieces:
    first = len(text[:start].encode())
    is_last = end == len(text)  # the text of a long document ends before it does
    stop = document.num_bytes if is_last else first + len(text[start:end].encode())
    found.append((first, stop))
  return found


def _document(record, part, member, stretches, digest, size):
  if record.document is not None:
    content = text_of(record.document).encode()
    digest = hashlib.sha256(content).digest()  # not that of the prompt alone
  elif isinstance(record.content, np.ndarray):
    content = b''
  else:
    content = record.content
  # The end may cut a character in two.
  text = bytes(content[:LONG_BYTES]).decode('utf-8', 'ignore')
  split = 'all' if part.split == DIVIDED and member.is_cut else stretches[0][0]
  is_divisible = record.document is None and not isinstance(record.content, np.ndarray)
  return Document(part.member, split, record.place, text, size, digest, is_divisible)
