"""What is to be prepared: the corpus in parts, the same in every process."""

import dataclasses
import json

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.corpus.readers import FILE_READERS, Reader, SourceReader
from gpt_jax.data import encodings, files, pipeline, records, split_files, splits

SPLITS = ('train', 'validation', 'test')
DIVIDED = ''  # as the split of a part: each document is of one, or is cut
_MIN_PART, _MAX_PART = 16 << 20, 512 << 20
_PARTS = 1024  # of a large corpus
_FORMAT = 2  # of shard.json with its report


@dataclasses.dataclass(frozen=True)
class Part:
  """What one shard is made of."""

  member: str
  split: str  # of all its documents, or DIVIDED
  where: tuple[int, int, int]  # for the reader of member and split


@dataclasses.dataclass(frozen=True)
class Member:
  """A corpus, alone or of a mixture."""

  name: str
  readers: dict[str, Reader]  # by split, or one under DIVIDED
  is_cut: bool  # by position, document by document
  max_corrupt_records: int

  def parts(self, part_bytes):
    return [
      Part(self.name, split, where)
      for split, reader in self.readers.items()
      for where in reader.parts(part_bytes)
    ]


def open_members(config):
  """Returns {name: Member} of `config.data`; {'': ...} without a mixture."""
  found = {}
  for name, (data, _) in pipeline.members(config.data).items():
    if data.source == 'prepared':
      raise ConfigError(
        f'data.source={data.source!r}: it is prepared already; give the config of the'
        ' text that it was made of.'
      )
    make = _file_readers if data.source in FILE_READERS else _source_readers
    readers = make(data, config)
    shared = next(iter(readers.values()))
    records.check_has_records(data, shared)
    is_cut = (
      DIVIDED in readers
      and not shared.fields
      and not shared.has_at_least(splits.MANY_DOCUMENTS)
    )
    found[name] = Member(name, readers, is_cut, data.max_corrupt_records)
  return found


def _file_readers(data, config):
  suffixes, reader = FILE_READERS[data.source]
  encodings.check(data)
  paths, found, missing = files.find(data, suffixes), {}, None
  for split in SPLITS:
    try:
      chosen, is_named = split_files.choose(
        paths, dataclasses.replace(data, split=split)
      )
    except DataError as error:  # no file of this split, or none that can be told
      missing = error
      continue
    if not is_named:
      return {DIVIDED: reader(paths, data)}
    found[split] = reader(chosen, data)
  if not found and missing:
    raise missing
  return found


def _source_readers(data, config):
  """Returns readers of the splits that the config names: of training, eval sets."""
  named = {_split_name(data.split, 'train'): data.split}
  for name in config.eval.sets:
    held_out = load.data_section(
      config.data, config.eval.sets[name], f'eval.sets.{name}', pipeline.sources.SOURCES
    )
    if dataclasses.replace(held_out, split=config.data.split) == config.data:
      named.setdefault(_split_name(held_out.split, name), held_out.split)
  return {
    name: SourceReader(dataclasses.replace(data, split=split))
    for name, split in named.items()
  }


def _split_name(split, otherwise):
  return split if split.isidentifier() else otherwise


def part_bytes(members, wanted=0):
  """Returns the size of a part in bytes of text: `wanted`, or by that of the corpus."""
  total = sum(
    r.num_bytes for member in members.values() for r in member.readers.values()
  )
  return wanted or min(max(total // _PARTS, _MIN_PART), _MAX_PART)


def describe(config, members, tokenizer, steps, size):
  """Returns what decides the content of all shards, as plain JSON."""
  described = {
    'format': _FORMAT,
    'members': {
      name: {
        'source': data.source,
        'is_cut': members[name].is_cut,
        'fingerprints': {s: r.fingerprint for s, r in members[name].readers.items()},
      }
      for name, (data, _) in pipeline.members(config.data).items()
    },
    'tokenizer': {
      'name': tokenizer.name,
      'vocab_size': tokenizer.vocab_size,
      'fingerprint': tokenizer.fingerprint,
    },
    'append_eos': config.data.append_eos,
    'seed': config.seed if config.data.seed is None else config.data.seed,
    'steps': [step.to_dict() for step in steps],
    'shard_mb': size / (1 << 20),
  }
  return json.loads(json.dumps(described))  # as it is read again


def differences(saved, asked, prefix=''):
  """Returns [field: saved value -> asked value] of two descriptions."""
  found = []
  for key in sorted(saved.keys() | asked.keys()):
    old, new = saved.get(key), asked.get(key)
    if isinstance(old, dict) and isinstance(new, dict):
      found += differences(old, new, f'{prefix}{key}.')
    elif old != new:
      found.append(f'{prefix}{key}: {old!r} -> {new!r}')
  return found
