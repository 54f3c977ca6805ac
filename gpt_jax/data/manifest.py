"""A prepared corpus on disk: `manifest.json`, and the records it is made of.

```text
OUT/plan.json            what was asked for: the same in every process, made first
OUT/tokenizer/           that of the ids
OUT/steps/0-NAME/        surveys and decisions of a global step; not needed afterwards
OUT/shards/00017/        train.tokens.bin (uint16 or uint32), train.offsets.bin (int64:
                         where each document starts, then the total), train.FIELD.bin
                         (as `data/fields.py` has them); for each a NAME.checks.bin, the
                         CRC-32 of each 64 KiB; the same of the other splits; and
                         shard.json, written last: without it there is no shard
OUT/report.json, .md     what is in it, what was left out
OUT/manifest.json        all shards; written last: without it nothing is prepared
```
"""

import dataclasses
import json
import zlib
from typing import Any

from gpt_jax.core.errors import DataError

FORMAT = 1
MANIFEST, PLAN, SHARD = 'manifest.json', 'plan.json', 'shard.json'


@dataclasses.dataclass(frozen=True)
class SplitRecord:
  """One split of one shard."""

  tokens: int
  documents: int
  num_bytes: int  # of the text, UTF-8
  files: dict[str, dict[str, Any]]  # name -> {bytes, sha256}


@dataclasses.dataclass(frozen=True)
class ShardRecord:
  """What `shard.json` says of one shard."""

  number: int
  member: str  # of a mixture; '' without one
  splits: dict[str, SplitRecord]  # those that have documents
  report: dict[str, Any]  # what was read and left out; {} in the manifest


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What `manifest.json` says."""

  dtype: str  # of tokens: uint16 or uint32
  append_eos: bool
  fields: dict[str, str]  # arrays beside the tokens -> their dtype
  num_labels: dict[str, int | None]  # of each member
  tokenizer: dict[str, Any]  # name, vocab_size, fingerprint
  members: dict[str, Any]  # source and fingerprints of each member of the corpus
  steps: tuple[dict[str, Any], ...]  # quality steps with their options
  shards: tuple[ShardRecord, ...]
  format: int = FORMAT

  @property
  def splits(self):
    """Names of the splits that have documents, sorted."""
    return sorted({name for shard in self.shards for name in shard.splits})

  def parts(self, split, member=''):
    """Returns [(number of the shard, SplitRecord)] of those with documents.

    `member` of a mixture; '': of all.
    """
    return [
      (shard.number, shard.splits[split])
      for shard in self.shards
      if split in shard.splits and member in ('', shard.member)
    ]


def to_json(record):
  """Returns the text of a record: JSON with a checksum of its own content."""
  values = dataclasses.asdict(record)
  values['self_crc32'] = _crc32(values)
  return json.dumps(values, indent=1, sort_keys=True) + '\n'


def read_manifest(text, place):
  """Returns the Manifest of a file's text. Raises DataError for one that is damaged."""
  values = _checked(text, place)
  if values.get('format') != FORMAT:
    raise DataError(
      f'{place}: format={values.get("format")!r}, and this version reads {FORMAT};'
      ' prepare the corpus again, or use the version of gpt_jax that wrote it.'
    )
  shards = tuple(_shard(shard) for shard in values.pop('shards'))
  return Manifest(**{**values, 'steps': tuple(values['steps']), 'shards': shards})


def read_shard(text, place):
  """Returns the ShardRecord of a file's text. Raises DataError for a damaged one."""
  return _shard(_checked(text, place, f'delete {place.parent} and start'))


def _shard(values):
  splits = {name: SplitRecord(**part) for name, part in values['splits'].items()}
  return ShardRecord(**{**values, 'splits': splits})


def _checked(text, place, what='start'):
  try:
    values = json.loads(text)
    if values.pop('self_crc32') == _crc32(values):
      return values
  except (ValueError, KeyError, AttributeError):
    pass
  raise DataError(
    f'{place}: not as written. Copy it again from where it came from, or {what} the'
    ' same `gpt-jax prepare` again.'
  )


def _crc32(values):
  return zlib.crc32(json.dumps(values, sort_keys=True).encode())
