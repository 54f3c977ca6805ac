"""What a user says about how the tokens of one text are chosen, and its limits."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt_jax.core.errors import Problem, require_none

MAX_BIASES = 512
"""Ids that one request can put a bias on; a fixed size of the compiled program."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How the tokens of one text are chosen."""

  temperature: float = 0.0
  """Divides the logits; 0 takes the likeliest token (of equal ones the lowest id)."""
  top_k: int = 0
  """Only the k likeliest tokens; 0 is off."""
  top_p: float = 1.0
  """Nucleus: only the likeliest tokens with this share of what top_k kept, at least
  one; 1 is off. arXiv:1904.09751, section 3.1."""
  min_p: float = 0.0
  """Only tokens at least this many times as likely as the likeliest; 0 is off."""
  typical_p: float = 1.0
  """Only the tokens whose surprise is nearest the entropy, with this share of what is
  left; 1 is off. arXiv:2202.00666."""
  repetition_penalty: float = 1.0
  """Divides positive logits of ids in prompt and text, multiplies negative ones."""
  presence_penalty: float = 0.0
  """Subtracted from the logit of each id that was written."""
  frequency_penalty: float = 0.0
  """Subtracted from the logit of an id as often as it was written."""
  logit_bias: Any = ()
  """{id: number added to its logit}; kept as sorted pairs."""

  @classmethod
  def of(cls, cfg, **settings):
    """Returns the settings of an InferenceConfig, but for what `settings` say."""
    names = {field.name for field in dataclasses.fields(cls)} - {'logit_bias'}
    return cls(**{name: getattr(cfg, name) for name in names} | settings)

  def __post_init__(self):
    require_none([*_out_of_range(self), *_bias_problems(self.logit_bias)])
    pairs = self.logit_bias
    pairs = pairs.items() if isinstance(pairs, Mapping) else pairs
    pairs = tuple(sorted((int(i), float(bias)) for i, bias in pairs))
    object.__setattr__(self, 'logit_bias', pairs)
    require_none(list(_contradictions(self)))


def is_number(value):
  return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def is_whole(value) -> Any:
  return isinstance(value, numbers.Integral) and is_number(value)


def _between(low, high):
  return lambda value: low <= value <= high


_RANGES = {
  'temperature': (
    lambda value: 0 <= value < math.inf,
    'a number from 0 (greedy) up, such as 0.8',
  ),
  'top_k': (
    lambda value: is_whole(value) and value >= 0,
    'a whole number of tokens, 0 for all',
  ),
  'top_p': (_between(0, 1), 'a share from 0 to 1 (off)'),
  'min_p': (_between(0, 1), 'a share from 0 (off) to 1'),
  'typical_p': (
    lambda value: 0 < value <= 1,
    'a share above 0, up to 1 (off)',
  ),
  'repetition_penalty': (
    _between(0.01, 100),
    'a factor from 0.01 to 100, 1 for none, above it for less repetition',
  ),
  'presence_penalty': (_between(-100, 100), 'a number from -100 to 100, 0 for none'),
  'frequency_penalty': (_between(-100, 100), 'a number from -100 to 100, 0 for none'),
}


def _out_of_range(sampling):
  for name, (is_right, expected) in _RANGES.items():
    value = getattr(sampling, name)
    if not (is_number(value) and is_right(value)):
      yield Problem(name, f'={value!r}: expected {expected}')


def _bias_problems(bias):
  if not isinstance(bias, Mapping):
    try:
      bias = dict(bias)
    except (TypeError, ValueError):
      yield Problem(
        'logit_bias',
        f'={str(bias)[:40]!r}: expected {{id: number}}, such as {{50: -5}}',
      )
      return
  if len(bias) > MAX_BIASES:
    yield Problem('logit_bias', f': {len(bias)} ids; expected at most {MAX_BIASES}')
  for token_id, value in bias.items():
    if not (is_whole(token_id) and token_id >= 0):
      yield Problem('logit_bias', f': the id {token_id!r}; expected a token id from 0')
    if not (is_number(value) and math.isfinite(value)):
      yield Problem(
        'logit_bias',
        f'[{token_id}]={value!r}: expected a number, such as -5; -1000 rules an id out',
      )


def _contradictions(sampling):
  if sampling.typical_p < 1 and sampling.temperature == 0:
    yield Problem(
      'typical_p',
      f'={sampling.typical_p} with temperature=0: greedy text takes the likeliest'
      ' token, which typical sampling may exclude; set a temperature, or typical_p=1',
    )
  signs = {
    f'repetition_penalty={sampling.repetition_penalty}': np.sign(
      sampling.repetition_penalty - 1
    ),
    f'presence_penalty={sampling.presence_penalty}': np.sign(sampling.presence_penalty),
    f'frequency_penalty={sampling.frequency_penalty}': np.sign(
      sampling.frequency_penalty
    ),
  }
  more = [name for name, sign in signs.items() if sign < 0]
  less = [name for name, sign in signs.items() if sign > 0]
  if more and less:
    yield Problem(
      less[0],
      f' asks for less repetition, {more[0]} for more; set one of them to its value for'
      ' none (repetition_penalty 1, the others 0)',
    )


GREEDY = Sampling()
