"""Predicts with a fine-tuned run for new examples.

Examples are those of --text, or of --input: a file as those of the training, which is
read by task.reader and task.columns of the run; or one of another ending, which is read
by that, with the task's own fields as keys. Answers need not be there. Predictions are
printed, or written to --out as JSON lines with place, input and prediction, in the
order of the input.

examples:
  gpt-jax predict --workdir=runs/sst2 --text="a gripping , funny film"
  gpt-jax predict --workdir=runs/sst2 --input=new.tsv --out=predictions.jsonl
  gpt-jax predict --workdir=runs/sst2 --input=new.jsonl --out=predictions.jsonl
"""

import json
import pathlib
import sys

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, StorageError


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
  from gpt_jax.tracking import console

  trained = gpt_jax.load(args.workdir, step=args.step, overrides=overrides)
  examples = args.text or _read(trained.config, args.input)
  predictions = trained.predict(
    examples, progress=lambda items, label, total: console.progress(items, label, total)
  )
  lines = [
    json.dumps(_line(trained, one, found), ensure_ascii=False)
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


def _line(trained, example, prediction):
  if isinstance(example, str):
    return dict(input=example, prediction=prediction)
  return dict(
    place=example.place,
    input=trained.predictor.task.describe(example),
    prediction=prediction,
  )


def _read(config, names):
  """Returns the Records of files, with what they have of the task's fields."""
  from gpt_jax.examples import finding, formats
  from gpt_jax.examples.record import Record
  from gpt_jax.train import predict

  cfg, reader = config.task, config.task.reader
  trained = next(iter(cfg.files.values()))
  trained = trained if isinstance(trained, str) else trained[0]
  same = pathlib.Path(names[0]).suffix == pathlib.Path(trained).suffix
  read = formats.reader_for(names, reader if same else 'auto')
  paths = finding.find(names, config.data.data_dir)
  records = []
  for record in read(paths, config.data.encoding):
    values = record.values
    if same and cfg.columns:
      columns = predict.columns_of_inputs(config, values)
      missing = [key for key in columns.values() if key not in values]
      if missing:
        raise ConfigError(
          f'{record.place}: no column {missing[0]!r} (task.columns); there are'
          f' {", ".join(map(repr, values))}.'
        )
      values = {field: values[key] for field, key in columns.items()}
    records.append(Record(values, record.place))
  return records
