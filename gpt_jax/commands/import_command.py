"""Makes a run of a pretrained model of others: it evals, decodes, plans and benches.

SOURCE is a folder as Hugging Face's libraries write it: config.json, safetensors files
and the tokenizer's; or a GGUF file, whose packed tensors become float32. Neither torch
nor transformers is needed, and no file that could run code is opened. Whatever of the
model is not supported is listed, and nothing is written then. docs/interop.md has the
families.

SOURCE may also be an adapter that Hugging Face's peft has written
(adapter_config.json and adapter_model.safetensors): with --base=MODEL, a run or a
pretrained model, it becomes a run over that model (docs/peft_formats.md).

To train it further, start a new run from it (in float32: --dtype):
  gpt-jax train --config=runs/gpt2 --config.init_from=runs/gpt2 --workdir=runs/mine \\
      --config.data.source=text --config.data.path=my_texts

examples:
  gpt-jax import models/gpt2 --workdir=runs/gpt2
  gpt-jax import models/Llama-3.2-1B --workdir=runs/llama --dtype=bfloat16
  gpt-jax import models/gemma-3-270m-q4_k_m.gguf --workdir=runs/gemma
  gpt-jax generate --workdir=runs/gpt2 --prompt="The function returns"
  gpt-jax import adapters/mine --base=models/gpt2 --workdir=runs/mine
"""

import json
import shlex

from gpt_jax.commands import flags


def add_arguments(parser):
  parser.add_argument(
    'source',
    metavar='SOURCE',
    type=flags.local_path,
    help='the folder of the model or of an adapter, or a .gguf file',
  )
  flags.add_workdir(parser, help='the run to be made: a folder of its own')
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16', 'float16'),
    help='of the parameters; default: as in the files',
  )
  parser.add_argument(
    '--base', type=flags.local_path, metavar='MODEL', help='of an adapter: over what'
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.peft_formats import import_adapter

  if import_adapter.is_adapter(args.source) or args.base:
    return _import_adapter(args)
  from gpt_jax.core.errors import ConfigError
  from gpt_jax.interop import import_model, open_model
  from gpt_jax.tracking import console
  from gpt_jax.workdir.paths import Workdir

  workdir = Workdir(args.workdir)
  if Workdir(args.source).checkpoints.is_dir():
    raise ConfigError(
      f'{args.source}: is a run, and needs no import: eval, generate and export take it'
      ' as --workdir, training as --config.init_from.'
    )
  with open_model.open_model(args.source, args.dtype) as model:
    imported = import_model.import_model(model, workdir)
    cfg, tokenizer = model.config.model, model.tokenizer
  rows = [
    ('source', args.source),
    ('family', model.family.name),
    ('parameters', f'{imported.count:,} in {cfg.param_dtype}'),
    ('layers', f'{cfg.num_layers} of width {cfg.d_model}'),
    ('vocabulary', f'{cfg.vocab_size:,} rows'),
    ('tokenizer', f'{tokenizer.name}, {tokenizer.vocab_size:,} ids'),
  ]
  if imported.memory_ratio is not None:
    taken = imported.memory_ratio * imported.num_bytes
    text = f'{taken / 1e6:,.0f} MB, {imported.memory_ratio:.2f}x of the parameters'
    rows.append(('peak memory', text))
  console.table(f'{workdir}: imported', ('what', 'value'), rows)
  quoted = shlex.quote(str(args.workdir))
  if model.config.model.head == 'none':
    print(f'next: gpt-jax embed --workdir={quoted} --text="Once upon a time"')
  else:
    print(f'next: gpt-jax generate --workdir={quoted} --prompt="Once upon a time"')
  if args.json:
    result = dict(
      workdir=str(workdir), family=model.family.name, parameters=imported.count,
      dtype=cfg.param_dtype, vocab_size=cfg.vocab_size, tokenizer=tokenizer.name,
      memory_ratio=imported.memory_ratio,
    )  # fmt: skip
    print(json.dumps(result))


def _import_adapter(args):
  from gpt_jax.core.errors import ConfigError
  from gpt_jax.peft_formats import import_adapter
  from gpt_jax.tracking import console
  from gpt_jax.workdir.paths import Workdir

  if not args.base:
    said = import_adapter.base_of(args.source)
    raise ConfigError(
      f'{args.source}: is an adapter'
      + (f' of {said!r}' if said else '')
      + '; name the model that it stands on: --base=MODEL, a run, a Hugging Face folder'
      ' or a GGUF file.'
    )
  workdir = Workdir(args.workdir)
  made = import_adapter.import_adapter(args.source, args.base, workdir, args.dtype)
  rows = [
    ('source', args.source),
    ('base', f'{args.base}, step {made.base.step}, {made.base.fingerprint}'),
    ('method', made.config.peft.name),
    ('parameters', f'{made.count:,} of the adapter'),
    ('targets', getattr(made.config.peft.options, 'targets', '-')),
  ]
  console.table(f'{workdir}: imported', ('what', 'value'), rows)
  if args.json:
    result = dict(
      workdir=str(workdir), base=args.base, fingerprint=made.base.fingerprint,
      method=made.config.peft.name, parameters=made.count,
    )  # fmt: skip
    print(json.dumps(result))
