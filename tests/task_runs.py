"""Runs of a tiny classification: reviews of made-up words, one class hostile."""

import json
import sys

import numpy as np

from gpt_jax.train import loop
from tests import tiny_runs

LABELS = ('<b>bad</b>', 'good', 'so-so')
"""One is markup: reports have to escape it."""
WORDS = {
  LABELS[0]: ('poor', 'dull & slow', '<script>alert(1)</script>'),
  LABELS[1]: ('fine', 'warm', 'bright'),
  LABELS[2]: ('plain', 'usual'),
}
SMALL = tiny_runs.ONE_LAYER | {
  'data.seq_len': 48,
  'data.append_eos': True,
  'eval.batch_size': 8,
  'train.steps': 40,
  'eval.every_steps': 10,
  'checkpoint.every_steps': 10,
  'checkpoint.keep_best': 1,
  'checkpoint.best_metric': 'validation/accuracy',
  'checkpoint.best_mode': 'max',
  'logging.every_steps': 5,
  'task.name': 'classification',
  'objective.name': 'class_labels',
  'objective.options.attention': 'bidirectional',
  'objective.options.pooling': 'mean',
  'tokenizer.name': 'byte',
}


def write_examples(path, count, seed):
  """Writes `count` examples; one in eight has a label drawn by chance."""
  rng = np.random.default_rng(seed)
  lines = []
  for number in range(count):
    label = LABELS[rng.choice(3, p=(0.5, 0.3, 0.2))]
    words = ' '.join(rng.choice(WORDS[label], rng.integers(1, 4)))
    text = f'film {number % 40}: {words}'
    wrong = LABELS[rng.integers(3)] if rng.random() < 0.125 else label
    lines.append(json.dumps(dict(text=text, label=wrong)))
  path.write_text('\n'.join(lines) + '\n')


def settings(folder, overrides=None):
  """Returns overrides for a run on files in `folder`, written unless they are there."""
  files = {}
  for seed, (split, count) in enumerate(
    {'train': 160, 'validation': 45, 'test': 60}.items()
  ):
    path = folder / f'{split}.jsonl'
    files[split] = str(path)
    if not path.exists():
      write_examples(path, count, seed)
  sets = {'validation': {'split': 'validation'}}
  return SMALL | {'task.files': files, 'eval.sets': sets} | (overrides or {})


def train(folder, name, overrides=None):
  """Trains the run `name` on the files of `folder`; returns its workdir."""
  config = tiny_runs.tiny_config(settings(folder, overrides))
  before = sys.argv  # run.json has the command; that of a test worker says nothing
  sys.argv = ['gpt-jax', 'train', f'--workdir={folder / name}']
  try:
    loop.train(config, folder / name, quiet=True)
  finally:
    sys.argv = before
  return folder / name
