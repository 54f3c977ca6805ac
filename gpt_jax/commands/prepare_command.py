"""Tokenizes a corpus once, in shards that any number of runs then trains from.

The data section of --config says what is read; all its splits are written, under the
tokenizer of the config. Started again it goes on; what it writes is the same for any
number of processes. To train from it: data.source=prepared data.path=DIR.
Of several processes (srun, `gpt-jax launch --nodes=N`) each makes a share.
docs/data.md has the format and many machines, docs/quality_steps.md the quality steps.

examples:
  gpt-jax prepare --config=configs/tiny.py --out=corpora/docs
  gpt-jax prepare --config=configs/gpt2.py:124m --config.tokenizer.path=gpt2_bpe \\
      --config.data.source=jsonl --config.data.path=web/ --out=corpora/web
  gpt-jax prepare --config=configs/gpt2.py:124m --config.tokenizer.path=gpt2_bpe \\
      --config.data.source=jsonl --config.data.path=web/ --out=corpora/web --shard=3/8
  gpt-jax prepare --config=configs/gpt2.py:124m --config.tokenizer.path=gpt2_bpe \\
      --config.data.source=jsonl --config.data.path=web/ --out=corpora/clean \\
      --step=language:languages=en --step=exact --step=minhash:threshold=0.8
  gpt-jax train --config=configs/gpt2.py:124m --workdir=runs/web \\
      --config.data.source=prepared --config.data.path=corpora/web
"""

import json
import os
import re
import shlex
import signal

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, Interrupted, UserError

# Fields that decide what the tokens are: a run has to have the same ones.
_OF_THE_CORPUS = ('tokenizer.name', 'tokenizer.vocab_size', 'data.append_eos')


def add_arguments(parser):
  flags.add_config(parser)
  parser.add_argument(
    '--out', metavar='DIR', help='the folder to write; a URL of a bucket will do'
  )
  parser.add_argument(
    '--processes', type=int, metavar='N', help='on this machine; default: its cores'
  )
  parser.add_argument(
    '--shard',
    metavar='I/N',
    help='make the I-th of N shares of the shards, counted from 1: one on each machine;'
    ' default: that of this process where `gpt-jax doctor` says that there are several,'
    ' such as tasks of srun, else all',
  )
  parser.add_argument(
    '--wait',
    action='store_true',
    help='for the other shares, where a step has to know of all documents',
  )
  parser.add_argument(
    '--step',
    action='append',
    default=[],
    metavar='NAME[:FIELD=VALUE...]',
    help='a quality step, several in their order: length, language, gopher_quality,'
    ' gopher_repetition, c4, decontaminate, exact, minhash, weights, epochs;'
    ' docs/quality_steps.md',
  )
  parser.add_argument(
    '--shard_mb',
    type=int,
    default=0,
    metavar='MIB',
    help='text that becomes one shard; default: 16 to 512, by the size of the corpus',
  )
  flags.add_json(parser)


def run(args, overrides):
  check(args)
  from gpt_jax.config.files import load_file
  from gpt_jax.corpus import prepare, step_flags, workers
  from gpt_jax.program import setup
  from gpt_jax.workdir import files

  files.check_writable_early(args.out)
  config = setup.resolve(load_file(args.config), overrides)
  share, are_together = _share(args.shard)
  request = prepare.Request(
    config,
    files.as_folder(args.out),
    tuple(step_flags.parse(args.step)),
    args.shard_mb << 20,
    args.processes or len(os.sched_getaffinity(0)),
    share,
    args.wait or are_together,
  )
  before = signal.signal(signal.SIGTERM, _stop)
  try:
    with _progress() as progress:
      found = prepare.prepare(request, progress)
  except KeyboardInterrupt as stop:
    raise KeyboardInterrupt(workers.STOPPED) from stop
  finally:
    signal.signal(signal.SIGTERM, before)
  _show(found, request, overrides)
  if args.json:
    print(json.dumps(found))


def check(args):
  """Raises ConfigError with all that is wrong with parsed flags."""
  problems = [
    f'--{name} is missing; give {what}.'
    for name, what in (
      ('config', 'a config, such as configs/tiny.py'),
      ('out', 'the folder to write, such as corpora/web'),
    )
    if not getattr(args, name)
  ]
  for name, least in (('processes', 1), ('shard_mb', 0)):
    value = getattr(args, name)
    if value is not None and value < least:
      problems.append(f'--{name}={value}: expected at least {least}.')
  try:
    parse_share(args.shard or '1/1')
  except ConfigError as error:
    problems.append(str(error))
  if problems:
    raise ConfigError('\n'.join(problems))


def parse_share(text):
  """Returns (i, n) of `i/n`. Raises ConfigError unless 1 <= i <= n."""
  found = re.fullmatch(r'(\d+)/(\d+)', text)
  if found and 1 <= int(found[1]) <= int(found[2]):
    return int(found[1]), int(found[2])
  way_out = 'such as 3/8'
  if found and int(found[2]):
    way_out = f'from 1/{int(found[2])} to {int(found[2])}/{int(found[2])}'
  raise ConfigError(
    f'--shard={text}: expected I/N, the I-th of N shares counted from 1, {way_out}.'
  )


def _share(text):
  """Returns ((i, n), whether the others are at work now) of --shard or evidence."""
  from gpt_jax.parallel import discovery

  try:
    evidence = None if text else discovery.find()
  except UserError as error:
    error.add_note('Or give --shard=I/N, the share of this process.')
    raise
  if evidence is None:
    return parse_share(text or '1/1'), False
  share = evidence.process_id + 1, evidence.num_processes
  print(
    f'process {evidence.label(share[0] - 1)} of {share[1]} makes a share of its own'
  )
  return share, True


def _stop(number, frame):
  from gpt_jax.corpus import workers

  raise Interrupted(workers.STOPPED)


def _progress():
  from gpt_jax.corpus import progress_bar

  return progress_bar.show()


def _show(found, request, overrides):
  from gpt_jax.corpus import report

  pace = ''
  if found['tokens_per_second']:
    pace = (
      f': {report.count(found["shards_made_now"], "shard")} in'
      f' {found["seconds"]:,.1f} s, {found["tokens_per_second"]:,} tokens/s,'
      f' {found["megabytes_per_second"]:,.1f} MB/s'
    )
  if missing := found.get('missing'):
    print(
      f'share {request.share[0]} of {request.share[1]} is prepared{pace}\n'
      f'{missing:,} of {report.count(found["shards"], "shard")} missing; the process'
      ' that makes the last one writes the manifest'
    )
    return
  print(report.as_markdown(found))
  print(f'{request.out}{pace}')
  fields = {name: overrides[name] for name in _OF_THE_CORPUS if name in overrides}
  fields |= {'data.source': 'prepared', 'data.path': str(request.out)}
  words = [f'--config.{name}={shlex.quote(text)}' for name, text in fields.items()]
  print(f'train from it: {" ".join(words)}')
