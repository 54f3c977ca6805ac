"""Solved examples before a prompt: which ones, in what order, and how many fit.

Choices are functions of pool, example and seed, the same on every machine. None of the
shots is the example itself, or a copy of it under another id.
"""

import collections
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose
from gpt_jax.templates import printed
from gpt_jax.templates.template import prompt_of, render

SEPARATOR = '\n\n'

_ANSWERS = ('label', 'answers', 'targets', 'tags', 'output', 'id', 'user', 'item')
# Words; and of scripts without spaces, single characters.
_TOKENS = re.compile(
  '[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]'
  '|[^\\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+'
)


class Pool:
  """Examples to choose from, dicts by field; their tokens are read once."""

  def __init__(self, examples: Sequence[Mapping[str, Any]]):
    self.examples = list(examples)
    self._orders = {}

  def order(self, seed):
    """Returns the numbers of all examples, shuffled by `seed`."""
    if seed not in self._orders:
      order = np.random.default_rng(seed).permutation(len(self.examples))
      self._orders[seed] = order.tolist()
    return self._orders[seed]

  def balanced_order(self, seed):
    """Returns these numbers with one of each label in turn, while it lasts."""
    if ('balanced', seed) not in self._orders:
      by_label = collections.defaultdict(list)
      for number in self.order(seed):
        by_label[str(self._label(number))].append(number)
      turns = itertools.zip_longest(*by_label.values())
      order = [n for turn in turns for n in turn if n is not None]
      self._orders['balanced', seed] = order
    return self._orders['balanced', seed]

  def _label(self, number):
    if 'label' not in self.examples[number]:
      raise ConfigError(
        "shots.how='balanced': examples have no label; expected 'random' or 'nearest'."
      )
    return self.examples[number]['label']

  @functools.cached_property
  def sizes(self):
    """The number of different tokens of each example."""
    return np.array([len(tokens) for tokens in self._tokens], np.int64)

  @functools.cached_property
  def holders(self):
    """Token -> int array of the examples that hold it."""
    found = collections.defaultdict(list)
    for number, tokens in enumerate(self._tokens):
      for token in tokens:
        found[token].append(number)
    return {token: np.array(numbers) for token, numbers in found.items()}

  @functools.cached_property
  def _tokens(self):
    return [tokens_of(example) for example in self.examples]


def shots_for(pool, example, count, seed, how='random'):
  """Returns `count` examples of a pool for one that is to be solved, nearest last.

  Args:
    pool: a Pool, which is quicker for many examples, or a list of dicts by field.
    how: 'random': the first of a shuffled pool, so the same for nearly all examples;
      'balanced': so, label by label in turn; 'nearest': those that share most tokens
      of the input, intersection over union, as in KATE (arXiv:2101.06804) with tokens
      for its sentence vectors.

  Raises ConfigError for an unknown `how` and for a pool that is too small.
  """
  pool = pool if isinstance(pool, Pool) else Pool(pool)
  chosen = choose(ORDERS, how, 'shots.how')
  if count < 0:
    raise ConfigError(f'shots={count}: expected 0 or more.')
  found, itself = [], _without_id(example)
  for number in chosen(pool, example, seed) if count else ():
    if len(found) == count:
      break
    if _without_id(pool.examples[number]) != itself:
      found.append(pool.examples[number])
  if len(found) < count:
    raise ConfigError(
      f'shots={count}: the pool has {len(found)} examples other than the one to solve;'
      ' give a larger pool or fewer shots.'
    )
  return found[::-1] if how == 'nearest' else found


def with_shots(template, shots, values, separator=SEPARATOR, place=''):
  """Returns (prompt with the solved `shots` before it, target) of a record's values."""
  prompt, target = render(template, values, place)
  return _before(template, shots, prompt, separator), target


def fitting(template, shots, values, limit, length, separator=SEPARATOR):
  """Returns the shots, without the first ones if the prompt is over a limit with them.

  Whole shots are left out until `length(prompt) <= limit`. A prompt may be over it
  without any: its caller cuts or refuses it.
  """
  prompt = prompt_of(template, values)
  while shots and length(_before(template, shots, prompt, separator)) > limit:
    shots = shots[1:]
  return shots


def tokens_of(example):
  """Returns the set of tokens in what is given of an example, in lower case."""
  found = set()
  for field, content in example.items():
    if field not in _ANSWERS and field in printed.FIELDS:
      text = content if isinstance(content, str) else _flat(content)
      found.update(_TOKENS.findall(text.lower()))
  return found


def _without_id(example):
  return {field: content for field, content in example.items() if field != 'id'}


def _flat(content):
  return ' '.join(str(part) for part in content) if isinstance(content, list) else ''


def _before(template, shots, prompt, separator):
  solved = [''.join(render(template, shot)) for shot in shots]
  return separator.join([*solved, prompt])


def _random(pool, example, seed):
  return pool.order(seed)


def _balanced(pool, example, seed):
  return pool.balanced_order(seed)


def _nearest(pool, example, seed):
  """Returns the numbers of a pool, those with the most shared tokens first."""
  tokens = tokens_of(example)
  shared = np.zeros(len(pool.examples), np.int64)
  for token in tokens:
    shared[pool.holders.get(token, [])] += 1
  overlap = shared / np.maximum(pool.sizes + len(tokens) - shared, 1)
  order = np.array(pool.order(seed), np.int64)  # settles ties
  return order[np.argsort(-overlap[order], kind='stable')].tolist()


ORDERS = {'random': _random, 'balanced': _balanced, 'nearest': _nearest}
"""how -> the order in which the examples of a pool are taken."""
