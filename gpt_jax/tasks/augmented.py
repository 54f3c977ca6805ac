"""Rows of training examples whose texts are edited anew in each epoch.

The row of an example is a function of data.seed, the epoch and the example's number.
"""

import dataclasses

from gpt_jax.augmentation import augment
from gpt_jax.core.errors import Problem

FIELDS = {
  'classification': ('text',),
  'pairs': ('text', 'text_b'),
  'ner': ('words', 'tags'),
}
"""Task -> fields that are edited. Of other tasks spans, targets or prompts would no
longer belong to what they are of."""


def is_on(cfg):
  """Returns whether a TaskConfig edits its training examples."""
  return any(getattr(cfg.augmentation, name) for name in augment.AUGMENTATIONS)


def problems(config):
  """Returns the Problems of task.augmentation of a Config."""
  cfg = config.task
  if not is_on(cfg):
    return []
  field = 'task.augmentation'
  if cfg.name not in FIELDS:
    text = f': task.name={cfg.name!r} edits no texts; {", ".join(FIELDS)} do'
    return [Problem(field, text)]
  if cfg.too_long == 'window':
    # An edited text may have more windows, or fewer.
    text = '=window: not with task.augmentation; truncate, or drop'
    return [Problem('task.too_long', text)]
  if 'tags' in FIELDS[cfg.name]:
    return augment.tag_problems(cfg.augmentation, field)
  return augment.problems(cfg.augmentation, field)


def row_maker(task, records, rows, owners, encoder, seed):
  """Returns `(row, epoch) -> Row`, None where task.augmentation is off.

  A row stays as it was where the edited text makes none.
  """
  if not is_on(task.cfg):
    return None
  table = augment.open_table(task.cfg.augmentation)

  def make(number, epoch):
    index = int(owners[number])
    record = changed(task, records[index], table, seed=seed, epoch=epoch, index=index)
    made = task.encode(record, encoder, is_training=True)
    return made[0] if made else rows[number]

  return make


def changed(task, record, table, *, seed, epoch, index):
  """Returns a Record with edited texts: example `index` of the split in an epoch."""
  cfg, values, names = task.cfg.augmentation, record.values, FIELDS[task.name]
  if 'tags' in names:
    words, tags = augment.augmented_tags(
      values['words'], values['tags'], cfg, table, seed=seed, epoch=epoch, index=index
    )
    edited = {'words': words, 'tags': tags}
  else:
    edited = {
      # Each text of a pair has its own number: it draws for itself.
      name: augment.augmented(
        values[name], cfg, table, seed=seed, epoch=epoch, index=index * len(names) + k
      )
      for k, name in enumerate(names)
    }
  return dataclasses.replace(record, values=values | edited)
