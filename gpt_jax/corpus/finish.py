"""The end of `gpt-jax prepare`: all shards are there; report and manifest."""

import concurrent.futures

from gpt_jax.core.errors import DataError
from gpt_jax.corpus import encode, report, shard_work
from gpt_jax.corpus.decisions import Decisions
from gpt_jax.corpus.quality import Filter, Known
from gpt_jax.corpus.shard_files import (
  remove_unfinished,
  shard_folder,
  shards_there,
  write_json,
  write_whole,
)
from gpt_jax.corpus.shard_report import ShardReport, require_fewer_damaged
from gpt_jax.corpus.step import GlobalStep
from gpt_jax.data import manifest

_READERS = 16  # at once: of a bucket each takes a while


def read_shards(job):
  """Returns the ShardRecords that are there, by number."""
  paths = [shard_folder(job.out, i) / manifest.SHARD for i in shards_there(job.out)]
  with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
    texts = pool.map(lambda path: path.read_text(), paths)
    return [manifest.read_shard(*pair) for pair in zip(texts, paths, strict=True)]


def finish(job, request, shards):
  """Writes report and manifest; returns the report. DataError for too much damage."""
  _check_damaged(job, shards)
  found = report.add_up(shards, request.steps, job.steps)
  _name_what_stays(job, request, found)
  write_json(job.out / report.JSON, found)
  write_whole(job.out / report.TEXT, report.as_markdown(found))
  if not found['splits']:
    raise DataError(
      f'{job.out}: no tokens: all documents are empty or left out;'
      f' {job.out / report.TEXT} says why.'
    )
  remove_unfinished(job.out)
  text = manifest.to_json(_manifest(job, request, shards))
  write_whole(job.out / manifest.MANIFEST, text)
  return found


def _manifest(job, request, shards):
  fields, num_labels = set(), {}
  for name, member in job.members.items():
    reader = next(iter(member.readers.values()))
    fields.update(reader.fields)
    num_labels[name] = reader.num_labels
  return manifest.Manifest(
    dtype=encode.dtype_of(job.tokenizer),
    append_eos=job.append_eos,
    fields=encode.dtypes_of(sorted(fields)),
    num_labels=num_labels,
    tokenizer={
      'name': job.tokenizer.name,
      'vocab_size': job.tokenizer.vocab_size,
      'fingerprint': job.tokenizer.fingerprint,
    },
    members={
      name: {split: reader.fingerprint for split, reader in member.readers.items()}
      for name, member in job.members.items()
    },
    steps=tuple(step.to_dict() for step in request.steps),
    shards=tuple(
      manifest.ShardRecord(shard.number, shard.member, shard.splits, {})
      for shard in shards
    ),
  )


def _check_damaged(job, shards):
  for name, member in job.members.items():
    found = [line for s in shards if s.member == name for line in s.report['damaged']]
    require_fewer_damaged(found, member.max_corrupt_records)


def _name_what_stays(job, request, found):
  """Puts the place of the document that stays into the examples of global steps."""
  for number, step in enumerate(found['steps']):
    for reason in step['left_out'].values():
      for example in reason['examples']:
        if 'because_of' in example:
          place = _place(job, request, number, example['because_of'])
          example['because_of'] = place


def _place(job, request, number, document):
  made = {
    i: Decisions(job.out, i, request.steps[i].name)
    for i in range(number + 1)
    if isinstance(job.steps[i], GlobalStep)
  }
  shard, index = made[number].locate(document)
  decided = {i: one.of_shard(shard) for i, one in made.items() if i < number}
  known = Known(decided, number, made[number].refused(shard))
  chosen = Filter(job.steps, known)
  walked = shard_work.walk(job, shard, chosen, ShardReport(len(job.steps)))
  reached = (document for kept, document in walked if kept and document)
  for i, one in enumerate(reached):
    if i == index:
      return one.place
  return f'shard {shard}, document {index}'
