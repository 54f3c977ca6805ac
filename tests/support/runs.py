"""A tiny run that finds spans in the shop's documents, trained for a few steps."""

import json

from gpt_jax.train import loop
from tests.support import shop
from tests.tasks import small_tasks

OVERRIDES = {
  'data.seq_len': 160,
  'train.steps': 3,
  'model.position': 'rope',
  'task.too_long': 'window',
  'task.window_stride': 32,
}


def train_reader(folder):
  """Returns the workdir of a run of task qa on bytes."""
  rows = []
  for text, said, file in shop.ASKED:
    context = shop.DOCUMENTS[file].partition('\n\n')[2].strip()
    answers = [dict(text=said, start=context.index(said))]
    rows.append(dict(id=text, context=context, question=text, answers=answers))
  path = folder / 'train.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  files = {split: str(path) for split in ('train', 'validation', 'test')}
  overrides = OVERRIDES | {'task.files': files}
  config = small_tasks.config('qa', 'span_labels', overrides)
  loop.train(config, folder / 'reader', quiet=True)
  return folder / 'reader'
