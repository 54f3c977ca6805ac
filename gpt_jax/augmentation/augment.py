"""What is done to the text of a training example, anew in each epoch.

`cfg` is an AugmentationConfig (`config/schema.py`): rates of all edits, shares of the
words of a text. The paper recommends 0.1 for each, 0.05 where there are thousands of
examples (arXiv:1901.11196, section 3.3).
"""

import numpy as np

from gpt_jax.augmentation import synonym_table, tag_edits, word_edits
from gpt_jax.core.errors import Problem

AUGMENTATIONS = word_edits.EDITS
"""Name of its rate -> edit of a text; those of words with tags are in `tag_edits`."""


def problems(cfg, field='augmentation'):
  """Returns the `errors.Problem`s of an AugmentationConfig, a section named `field`."""
  named = [name for name in word_edits.NEED_TABLE if getattr(cfg, name)]
  if named and not cfg.table:
    return [
      Problem(
        f'{field}.table',
        f"='': {field}.{named[0]}={getattr(cfg, named[0])} needs a file of synonyms,"
        ' lines word<TAB>synonym,synonym',
      )
    ]
  return []


def tag_problems(cfg, field='augmentation'):
  """Returns the `errors.Problem`s of one for words with tags."""
  found = [
    Problem(
      f'{field}.{name}',
      f'={getattr(cfg, name)}: a new word has no tag; expected 0 for tagged words',
    )
    for name in AUGMENTATIONS
    if name not in tag_edits.EDITS and getattr(cfg, name)
  ]
  return found + problems(cfg, field)


def open_table(cfg):
  """Returns the SynonymTable that an AugmentationConfig names, None for none."""
  return synonym_table.read(cfg.table) if cfg.table else None


def augmented(text, cfg, table, *, seed, epoch, index):
  """Returns the text of example `index` in an epoch; a function of all of these."""
  rng = _generator(cfg, seed, epoch, index)
  if rng is None:
    return text
  units, rest = word_edits.split(text)
  for name, edit in AUGMENTATIONS.items():
    if rate := getattr(cfg, name):
      units = edit(units, rate, rng, table)
  return word_edits.join(units, rest)


def augmented_tags(words, tags, cfg, table, *, seed, epoch, index):
  """Returns (words, tags) of example `index` in an epoch; its entities stay."""
  rng = _generator(cfg, seed, epoch, index)
  if rng is None:
    return list(words), list(tags)
  for name, edit in tag_edits.EDITS.items():
    if rate := getattr(cfg, name):
      words, tags = edit(words, tags, rate, rng, table)
  return list(words), list(tags)


def _generator(cfg, seed, epoch, index):
  """Returns the generator of an example, None for one that stays as it is."""
  rng = np.random.default_rng([seed, epoch, index])
  return rng if rng.random() < cfg.share else None
