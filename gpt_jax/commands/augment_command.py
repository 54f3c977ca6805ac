"""Writes examples anew by translating a text there and back, with two runs.

Each run has learned a translation (task.name=translation), one the way back of the
other's. A line of --out is one of --input with another text in --field; texts that come
back as they were are left out. Give both files for training:
task.files={'train': [INPUT, OUT], ...}. What was translated is kept in OUT.cache, so
that an interrupted command goes on where it ended. Sennrich et al., arXiv:1511.06709.

examples:
  gpt-jax augment --input=train.jsonl --forward=runs/en_de --back=runs/de_en \\
    --out=more.jsonl
  gpt-jax augment --input=pairs.jsonl --field=text_b --forward=runs/en_de \\
    --back=runs/de_en --out=more.jsonl
"""

import json
import pathlib
from typing import Any

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, StorageError

BATCH = 64
"""Texts translated between two lines of the cache."""


def add_arguments(parser):
  parser.add_argument(
    '--input', required=True, metavar='FILE', help='.jsonl, an example a line'
  )
  parser.add_argument(
    '--field', default='text', metavar='NAME', help='with the text; default: text'
  )
  parser.add_argument(
    '--forward', required=True, metavar='WORKDIR', help='run that translates the texts'
  )
  parser.add_argument(
    '--back', required=True, metavar='WORKDIR', help='run that translates them back'
  )
  parser.add_argument(
    '--out', required=True, type=flags.local_path, metavar='FILE', help='.jsonl'
  )


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.examples import json_files
  from gpt_jax.examples.record import value

  records = list(json_files.read_lines([pathlib.Path(args.input)], 'utf-8'))
  texts = [value(each.values, args.field, each.place, str) for each in records]
  flags.enable_compilation_cache()
  found = _translated(texts, args)
  made = [
    each.values | {args.field: text}
    for each, old, text in zip(records, texts, found, strict=True)
    if text.strip() != old.strip()
  ]
  try:
    with open(args.out, 'w', encoding='utf-8') as file:
      file.writelines(json.dumps(one, ensure_ascii=False) + '\n' for one in made)
  except OSError as error:
    raise StorageError(f'--out={args.out}: {error}') from error
  same = len(records) - len(made)
  print(f'wrote {len(made):,} examples to {args.out}; {same:,} came back as they were')


def _translated(texts, args):
  """Returns each text translated there and back."""
  from gpt_jax.augmentation.back_translation import back_translated
  from gpt_jax.tracking import console

  (forward, first), (back, second) = _translator(args.forward), _translator(args.back)
  starts, found = range(0, len(texts), BATCH), []
  for start in console.progress(starts, 'translating', len(starts)):
    found += back_translated(
      texts[start : start + BATCH], forward, back, f'{args.out}.cache',
      models=f'{first}, {second}', batch_size=BATCH,
    )  # fmt: skip
  return found


def _translator(workdir):
  """Returns (`(texts) -> translations` of a run, a name of the run and its step)."""
  import gpt_jax

  trained = gpt_jax.load(workdir)
  if trained.config.task.name != 'translation':
    raise ConfigError(
      f'{workdir}: a run of task.name={trained.config.task.name!r}; expected one of'
      ' translation, such as configs/finetune.py:multi30k.'
    )

  def translate(texts):
    filled = [text for text in texts if text.strip()]  # a translation may be empty
    found: Any = trained.predict([{'source': text} for text in filled])
    answers = iter(found)
    return [next(answers)['text'] if text.strip() else '' for text in texts]

  return translate, f'{workdir} step {trained.step}'
