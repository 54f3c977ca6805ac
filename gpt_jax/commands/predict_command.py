"""Predicts with a fine-tuned run for new examples.

Examples are those of --text, or of --input: a file as those of the training, which is
read by task.reader and task.columns of the run; or one of another ending, which is read
by that, with the task's own fields as keys. --config.task.reader and
--config.task.columns say how else files are read. Answers need not be there.
Predictions are printed, or written to --out as JSON lines with place, input and
prediction, in the order of the input; those of examples that are dropped as too long
are null.

examples:
  gpt-jax predict --workdir=runs/sst2 --text="a gripping , funny film"
  gpt-jax predict --workdir=runs/sst2 --input=new.tsv --out=predictions.jsonl
  gpt-jax predict --workdir=runs/sst2 --input=new.jsonl --out=predictions.jsonl
"""

import json
import pathlib
import sys

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, DataError, DivergedError, StorageError

READING = ('task.reader', 'task.columns', 'data.data_dir', 'data.encoding')
"""Fields of the config that say how files of --input are read."""


def add_arguments(parser):
  flags.add_workdir(parser)
  flags.add_config_overrides(parser)
  parser.add_argument(
    '--input', action='append', default=[], metavar='FILE', help='one or several files'
  )
  parser.add_argument(
    '--text', action='append', default=[], metavar='TEXT', help='one; may be repeated'
  )
  parser.add_argument(
    '--out', type=flags.local_path, metavar='FILE', help='FILE.jsonl; default: print'
  )
  parser.add_argument(
    '--step', type=int, metavar='N', help='default: the best one, else the newest'
  )


def run(args, overrides):
  if bool(args.input) == bool(args.text):
    raise ConfigError('the examples: give --input=FILE, or --text=..., and not both.')
  flags.enable_compilation_cache()
  import gpt_jax
  from gpt_jax.program import setup
  from gpt_jax.tracking import console
  from gpt_jax.workdir.paths import Workdir

  given = {field: value for field, value in overrides.items() if field in READING}
  others = {field: value for field, value in overrides.items() if field not in given}
  trained = gpt_jax.load(args.workdir, step=args.step, overrides=others)
  try:
    task = trained.predictor.task  # of a run without one, this says so
    examples = args.text
    if not examples:
      config = setup.resolve(Workdir(args.workdir).read_config(), given)
      examples = _read(config, args.input, given)
    predictions = trained.predict(
      examples,
      progress=lambda items, label, total: console.progress(items, label, total),
    )
  except DivergedError as error:
    raise DivergedError(f'--workdir={args.workdir}: {error}') from error
  lines = [
    json.dumps(_line(task, one, found), ensure_ascii=False)
    for one, found in zip(examples, predictions or (), strict=True)
  ]
  if args.out is None:
    print('\n'.join(lines))
    return
  try:
    pathlib.Path(args.out).write_text('\n'.join(lines) + '\n', encoding='utf-8')
  except OSError as error:
    raise StorageError(f'--out={args.out}: {error}') from error
  print(f'{args.out}: {len(lines):,} predictions', file=sys.stderr)


def _line(task, example, prediction):
  if isinstance(example, str):
    return dict(input=example, prediction=prediction)
  return dict(
    place=example.place,
    input=task.describe(example),
    prediction=prediction,
  )


def _read(config, names, given):
  """Returns the Records of files, with what they have of the task's fields.

  `given`: fields of `READING` that the command sets for these files.
  """
  from gpt_jax.examples import splits
  from gpt_jax.examples.record import Record
  from gpt_jax.train import predict

  cfg = config.task
  trained = next(iter(cfg.files.values()))
  trained = trained if isinstance(trained, str) else trained[0]
  same = pathlib.Path(names[0]).suffix == pathlib.Path(trained).suffix
  reader = cfg.reader if same or 'task.reader' in given else 'auto'
  is_mapped = cfg.columns and (same or 'task.columns' in given)
  data_dir, encoding = config.data.data_dir, config.data.encoding
  read, paths = splits.opened(names, reader, data_dir)
  records = []
  for record in read(paths, encoding):
    if is_mapped:
      columns = predict.columns_of_inputs(config, record.values)
      try:
        values = splits.fields_of(record, columns)
      except DataError as error:
        raise DataError(
          f'{error} These are the columns of the training; for files of other ones give'
          ' --config.task.reader=NAME or --config.task.columns="{FIELD: COLUMN}".'
        ) from error
      record = Record(values, record.place)
    records.append(record)
  return records
