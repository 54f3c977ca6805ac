"""Makes a run of a pretrained model of others: it evals, decodes, plans and benches.

SOURCE is a folder as Hugging Face's libraries write it: config.json, safetensors files
and the tokenizer's; or a GGUF file, whose packed tensors become float32. Neither torch
nor transformers is needed, and no file that could run code is opened. Whatever of the
model is not supported is listed, and nothing is written then. docs/interop.md has the
families.

To train it further, start a new run from it (in float32: --dtype):
  gpt-jax train --config=runs/gpt2 --config.init_from=runs/gpt2 --workdir=runs/mine \\
      --config.data.source=text --config.data.path=my_texts

examples:
  gpt-jax import models/gpt2 --workdir=runs/gpt2
  gpt-jax import models/Llama-3.2-1B --workdir=runs/llama --dtype=bfloat16
  gpt-jax import models/gemma-3-270m-q4_k_m.gguf --workdir=runs/gemma
  gpt-jax generate --workdir=runs/gpt2 --prompt="The function returns"
"""

import json
import shlex

from gpt_jax.commands import flags


def add_arguments(parser):
  parser.add_argument(
    'source',
    metavar='SOURCE',
    type=flags.local_path,
    help='the folder of the model, or a .gguf file',
  )
  flags.add_workdir(parser, help='the run to be made: a folder of its own')
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16', 'float16'),
    help='of the parameters; default: as in the files',
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.interop import import_model, open_model
  from gpt_jax.tracking import console
  from gpt_jax.workdir.paths import Workdir

  workdir = Workdir(args.workdir)
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
