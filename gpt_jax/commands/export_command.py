"""Writes a run as a folder that Hugging Face's libraries read.

OUT gets model.safetensors (from 5 GB on several files with an index), config.json and
the tokenizer's files. The family is the first one whose config.json says all of what
the run's model computes; where none does, what cannot be said is listed and nothing is
written. Of a run with optimizer.ema_decay the moving average (EMA) is written, not the
raw parameters, as eval, generate and predict take it; of a run with a task its best
step. Kernels in few bits are written in full. Of a run with an adapter (peft.name) the
merged model is written; with --format=peft the adapter alone, adapter_config.json and
adapter_model.safetensors, as Hugging Face's peft reads them (docs/peft_formats.md).

examples:
  gpt-jax export --workdir=runs/gpt2 --out=models/mine
  gpt-jax export --workdir=runs/llama --out=models/mine --dtype=bfloat16 --step=2000
  gpt-jax export --workdir=runs/mistral --out=models/mine --family=mistral
  gpt-jax export --workdir=runs/sst2 --out=adapters/sst2 --format=peft
"""

import dataclasses
import json

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError


def add_arguments(parser):
  flags.add_workdir(parser)
  parser.add_argument(
    '--out', required=True, type=flags.local_path, metavar='DIR', help='a new folder'
  )
  parser.add_argument(
    '--step', type=int, metavar='N', help='default: the newest, of a task the best one'
  )
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16', 'float16'),
    help='of the tensors; default: that of the parameters',
  )
  parser.add_argument(
    '--family', metavar='NAME', help='such as llama; default: the first that fits'
  )
  parser.add_argument(
    '--format',
    choices=('model', 'peft'),
    default='model',
    help='peft: only the adapter of a run with peft.name',
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  import jax

  jax.config.update('jax_platforms', 'cpu')  # nothing is computed
  from gpt_jax import peft
  from gpt_jax.data import tokenizers
  from gpt_jax.interop import export_model
  from gpt_jax.program import adapted_checkpoints, restore, setup
  from gpt_jax.quantization import packed
  from gpt_jax.tracking import console
  from gpt_jax.train import task_end
  from gpt_jax.workdir.paths import Workdir

  workdir = Workdir(args.workdir)
  config = setup.read_config(workdir)
  kept, step = config.checkpoint, args.step
  source = adapted_checkpoints
  open_store = source.open_run if args.format == 'peft' else source.open_source
  with open_store(workdir.path) as store:
    if step is None and config.task.name:
      step = task_end.best_step(store, kept.keep_best)
    step = restore.choose_step(store, step)
    rows = restore.embedding_rows(store, step)
    model = dataclasses.replace(config.model, vocab_size=rows)
    config = dataclasses.replace(config, model=model)
    tokenizer = tokenizers.load(workdir.tokenizer)
    restore.check_tokenizer(store, step, tokenizer)
    made_of = store.read_meta(step).get('imported', {}).get('family')
    if config.model.quantized_activations:
      raise ConfigError(
        f'{args.workdir}: model.quantized_activations=True: a config.json cannot say'
        ' that inputs are rounded too; export what this run was made of, or one of'
        ' gpt-jax compress --method=int8.'
      )
    plain = peft.without_adapter(config)
    model = packed.in_full_model(plain.model)
    plain = dataclasses.replace(plain, model=model)
    family = export_model.choose_family(plain, args.family, preferred=made_of)
    if args.format == 'peft':
      files = _export_adapter(args, store, config, step, family)
    else:
      files = export_model.export_model(
        store, step, plain, tokenizer, args.out, family, args.dtype
      )
  rows = [
    ('step', str(step)),
    ('family', family.name),
    ('files', ', '.join(files)),
  ]
  console.table(f'{args.out}: written', ('what', 'value'), rows)
  if args.json:
    print(json.dumps(dict(out=args.out, step=step, family=family.name, files=files)))


def _export_adapter(args, store, config, step, family):
  from gpt_jax.peft_formats import export_adapter
  from gpt_jax.program.adapted_run import AdaptedRun

  if args.dtype not in (None, 'float32'):
    raise ConfigError(
      f'--dtype={args.dtype}: adapters are written in float32, as they are trained;'
      ' leave it out with --format=peft.'
    )
  run = AdaptedRun(store, config, step, args.workdir)
  files = export_adapter.export_adapter(run, family, args.out)
  if config.peft.base_storage != 'as_is':
    print(
      f'peft.base_storage={config.peft.base_storage!r}: the adapter was trained beside'
      ' kernels rounded to that; over the base in full it gives other numbers than were'
      ' scored here'
    )
  return files
