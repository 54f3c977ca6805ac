"""Documents and surveys for the tests of quality steps."""

import functools
import hashlib

import numpy as np

from gpt_jax.corpus.step import Document, Surveys


def document(text, split='train', member=''):
  content = text.encode()
  digest = hashlib.sha256(content).digest()
  return Document(member, split, 'a place', text, len(content), digest)


def removed(step, documents, size=3):
  """Returns {number: number that stays} of a global step, in surveys of `size`."""
  made = [step.survey(each) for each in documents]
  blocks = [made[i : i + size] for i in range(0, len(made), size)]
  arrays = [np.array(block, step.dtype) for block in blocks]
  surveys = Surveys(arrays.__getitem__, map(len, arrays))
  return {each.number: each.because_of for each in step.decide(surveys)}


SYLLABLES = np.array([c + v for c in 'bdfgklmnprst' for v in 'aeiou'])


def prose(seed, count):
  """Returns `count` words of a made-up language."""
  numbers = np.random.default_rng(seed).zipf(1.3, size=count) % 5000
  return ' '.join(map(_word, numbers.tolist()))


@functools.cache
def _word(number):
  rng = np.random.default_rng(number)
  return ''.join(rng.choice(SYLLABLES, size=1 + number % 4))
