"""`gpt-jax prepare`: from the files of a config to shards of tokens and a manifest.

Every process that is asked to, here or on another machine, makes the same plan, makes
the shards that are its own and are not there, and the last one writes the manifest.
Nothing else passes between processes than files that are whole or absent.
"""

import dataclasses
import json
import multiprocessing
import os
import time
from typing import Any

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, Interrupted, StorageError, note_once
from gpt_jax.corpus import finish, plan, report, shard_work, workers
from gpt_jax.corpus.decisions import Decisions, known
from gpt_jax.corpus.quality import undecided
from gpt_jax.corpus.readers import FILE_READERS
from gpt_jax.corpus.shard_files import shards_there, write_json
from gpt_jax.corpus.step import Context, GlobalStep
from gpt_jax.corpus.step_flags import ChosenStep, make_steps
from gpt_jax.data import files as source_files
from gpt_jax.data import manifest, pipeline, splits, tokenizers
from gpt_jax.data.tokenizer import DEFINITION
from gpt_jax.storage import objects
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files

_POLL_SECONDS = 2.0
_CUT = (
  f'fewer than {splits.MANY_DOCUMENTS} documents: each is cut by position, 90 % train,'
  ' then 5 % validation, 5 % test (data.split_by)'
)


@dataclasses.dataclass(frozen=True)
class Request:
  """What a command line asks for."""

  config: object  # Config
  out: Any  # path of `storage.places`
  steps: tuple[ChosenStep, ...] = ()
  part_bytes: int = 0  # of text that becomes one shard; 0: by the size of the corpus
  num_processes: int = 1
  share: tuple[int, int] = (1, 1)  # i of n: every n-th shard, from the i-th on
  waits: bool = False  # for the shares of other machines, where they are needed


_FILES = (
  *(manifest.PLAN, manifest.MANIFEST, report.JSON, report.TEXT),
  *('shards', 'steps', 'tokenizer', 'lost+found'),
)


def prepare(request, progress=None):
  """Returns the report; the manifest is there where all shares are done.

  `progress(done, total, what)` is called after each shard. Raises ConfigError where the
  folder has another corpus or another tokenizer, DataError for damaged input,
  StorageError where nothing can be written, Interrupted where other shares have to come
  first.
  """
  progress = progress or (lambda done, total, what: None)
  try:
    return _prepare(request, progress)
  except BrokenPipeError:  # of `progress`
    raise
  except OSError as error:
    raise StorageError(
      f'--out={request.out}: {error.filename or "a file there"} cannot be written'
      f' ({error.strerror or error}); free some space, or make it writable, and start'
      ' the same command again: whole shards are kept.'
    ) from error


def _prepare(request, progress):
  _require_corpus_or_empty(place(request.out))
  _require_outside(place(request.out), request.config)
  job = _open(request)
  _settle_plan(request, job)
  for member in job.members.values():
    if member.is_cut:
      note_once(_CUT)
  mine = range(request.share[0] - 1, len(job.parts), request.share[1])
  started, decided = time.monotonic(), {}
  while (step := undecided(job.steps, decided)) is not None:
    _decide(request, job, step, mine, progress)
    decided[step] = None
  there = set(shards_there(job.out))
  new = [i for i in mine if i not in there]
  _run(request, job, 'write', None, new, progress)
  seconds = time.monotonic() - started
  shards = finish.read_shards(job)
  made = [shard for shard in shards if shard.number in set(new)]
  pace = {'shards_made_now': len(new), 'seconds': round(seconds, 3)}
  pace['processes'] = request.num_processes
  pace |= report.pace(made, seconds)
  if len(shards) < len(job.parts):
    return {'shards': len(job.parts), 'missing': len(job.parts) - len(shards), **pace}
  return finish.finish(job, request, shards) | pace


def _require_corpus_or_empty(out):
  """Raises StorageError for a folder that holds anything but a corpus."""
  names = objects.names_in(out)
  others = [name for name in names if name not in _FILES and name[0] != '.']
  others = [name for name in others if not name.startswith('tokenizer.')]
  if others and manifest.PLAN not in names:
    more = f' and {len(others) - 3} more' if len(others) > 3 else ''
    raise StorageError(
      f'--out={out}: holds {", ".join(others[:3])}{more}, but no corpus; a corpus fills'
      f' a folder of its own: give a new one, such as {out / "corpus"}.'
    )


def _require_outside(out, config):
  """Raises ConfigError for a folder whose report would be text of the next corpus."""
  for data, _ in pipeline.members(config.data).values():
    if data.source != 'text' or not data.path or is_remote(out):
      continue
    for root in source_files.roots(data.data_dir):
      folder = (root / os.path.expanduser(data.path)).absolute()
      is_inside = out.is_relative_to(folder)
      if is_inside and all(part[0] != '.' for part in out.relative_to(folder).parts):
        raise ConfigError(
          f'--out={out}: lies in data.path={data.path!r}, all text in which is read,'
          f' and {report.TEXT} is text; give a folder beside it.'
        )


def _open(request):
  """Returns the Job; the same in each process."""
  config, out = request.config, place(request.out)
  if config.data.begin_token:
    raise ConfigError(
      f'data.begin_token={config.data.begin_token!r}: prepared corpora have no begin'
      ' tokens; set it to "", or train on the texts themselves.'
    )
  members = plan.open_members(config)
  size = plan.part_bytes(members, request.part_bytes)
  parts = tuple(part for member in members.values() for part in member.parts(size))
  if not parts:
    raise ConfigError(f'data.source={config.data.source!r}: no documents to prepare.')
  steps = _make_steps(request, members, out)
  if _is_first():
    files.check_writable(out)
  tokenizer = _open_tokenizer(config, members, out)
  return shard_work.Job(
    members, parts, tokenizer, config.data.append_eos, steps, out, size
  )


def _is_first():
  """Returns whether this process starts the others, which read what it has kept."""
  return multiprocessing.parent_process() is None


def _make_steps(request, members, out):
  source = request.config.data.source
  for member in members.values() if request.steps else ():
    if any(reader.vocab_size for reader in member.readers.values()):
      raise ConfigError(
        f'--step={request.steps[0].name}: data.source={source!r} gives ids, and steps'
        ' read text; give no step.'
      )
  contexts = [
    Context(request.config, Decisions(out, i, chosen.name).state)
    for i, chosen in enumerate(request.steps)
  ]
  return make_steps(request.steps, contexts)


def _open_tokenizer(config, members, out):
  """Returns the tokenizer kept in `out`; a new one, kept there, where there is none."""
  cfg = config.tokenizer
  readers = [r for member in members.values() for r in member.readers.values()]
  if sizes := [reader.vocab_size for reader in readers if reader.vocab_size]:
    cfg = dataclasses.replace(cfg, name='ids', vocab_size=max(sizes))
  if cfg.name not in tokenizers.LEARNED or (out / 'tokenizer' / DEFINITION).exists():
    found = tokenizers.build(cfg, tuple, out)
    if cfg.path and _is_first() and _fingerprint(cfg) != found.fingerprint:
      raise ConfigError(
        f'tokenizer.path={cfg.path!r}: another tokenizer than the one in {out}; give'
        ' another --out, or delete that folder.'
      )
    return found
  held_out = [
    load.data_section(
      config.data, fields, f'eval.sets.{name}', pipeline.sources.SOURCES
    )
    for name, fields in config.eval.sets.items()
  ]
  sources = {data.source for data, _ in pipeline.members(config.data).values()}
  if sources <= FILE_READERS.keys():  # of which all splits are written
    held_out.append(dataclasses.replace(config.data, split='all'))
  return pipeline.open_tokenizer(
    cfg, config.data, workdir=out, held_out=held_out, cache_dir=config.data.cache_dir
  )


def _fingerprint(cfg):
  return tokenizers.TOKENIZERS[cfg.name](cfg, tuple).fingerprint


def _settle_plan(request, job):
  """Writes plan.json; ConfigError where that of another corpus is there."""
  asked = plan.describe(
    request.config, job.members, job.tokenizer, request.steps, job.part_bytes
  )
  path = job.out / manifest.PLAN
  if not path.exists():
    write_json(path, asked)
  saved = json.loads(path.read_text())
  if changed := plan.differences(saved, asked):
    listed = '\n'.join(f'  {line}' for line in changed[:12])
    raise ConfigError(
      f'--out={job.out}: holds another corpus than the one asked for:\n{listed}\nGive'
      ' another folder, or delete this one.'
    )


def _decide(request, job, step, mine, progress):
  """Makes the decisions of a global step, as far as this process can."""
  made = Decisions(job.out, step, request.steps[step].name)
  if made.are_made:
    return
  there = made.surveyed()
  new = [i for i in mine if i not in there]
  _run(request, job, 'survey', step, new, progress)
  name = f'--step={request.steps[step].name}'
  if missing := len(job.parts) - len(made.surveyed()):
    why = (
      f'{name}: looks at all documents, and the surveys of {missing} of'
      f' {len(job.parts)} shards are those of other shares'
    )
    while len(made.surveyed()) < len(job.parts):
      _wait(request, why)
  global_step = job.steps[step]
  assert isinstance(global_step, GlobalStep)
  while not made.make_once(global_step, len(job.parts)):
    _wait(
      request,
      f'{name}: is being decided by {made.owner}; if it was killed, remove {made.lock}',
    )


def _wait(request, why):
  """Returns after a moment; raises Interrupted where --wait was not given."""
  if not request.waits:
    raise Interrupted(f'{why}. Start the same command again later, or give --wait.')
  note_once(f'{why}; waiting.')
  time.sleep(_POLL_SECONDS)


def _run(request, job, what, step, numbers, progress):
  """Makes surveys or shards `numbers` in processes."""
  label = 'shards' if step is None else f'surveys of {request.steps[step].name}'
  done = 0
  if numbers:
    progress(0, len(numbers), label)
  # A process of its own opens the corpus itself.
  arguments = (request, what, step, job if request.num_processes == 1 else None)
  for _ in workers.run(_task, arguments, numbers, request.num_processes):
    done += 1
    progress(done, len(numbers), label)


def _task(request, what, step, job):
  """Returns the function of a shard's number that a worker calls."""
  job = job or _open(request)
  made = {
    number: Decisions(job.out, number, chosen.name)
    for number, chosen in enumerate(request.steps)
    if isinstance(job.steps[number], GlobalStep) and (step is None or number < step)
  }

  def do(number):
    found = known(made, number)
    if what == 'write':
      shard_work.write(job, number, found)
    else:
      rows, refused = shard_work.survey(job, number, found, step)
      here = Decisions(job.out, step, request.steps[step].name)
      here.save_refused(number, refused)
      here.save_survey(number, rows)

  return do
