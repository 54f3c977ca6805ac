"""muP's learning rates: what the rate of each parameter is multiplied by with width.

w is the width over the base width, `model.d_model / model.mup_base_width`. A rate found
at the base width stays good at others if each kind of parameter has its own power of w:
docs/mup.md has the table, its sources and what it rests on in `model/initializers.py`.

AdamW and SGD: arXiv:2203.03466, table 8, and table 3 for `readout`, which has no
multiplier. Lion's entries have one size, as Adam's. Muon's updates have the spectral
norm that arXiv:2310.17813, condition 1, asks for at any width. Adafactor multiplies by
the RMS of the parameter, which carries w^-1/2 of the 1/w for `hidden` and all of it for
`readout`; queries begin at the floor of that RMS, so they are shown w times as large.
Weight decay is not multiplied.
"""

import dataclasses
import re

import optax

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError

KINDS = {
  'query': re.compile(r'(^|/)layers(_\d+)?/(.*/)?query/kernel$'),
  'hidden': re.compile(r'(^|/)layers(_\d+)?/(.*/)?kernel$|pooler_kernel$'),
  'output': re.compile(r'^head/kernel$'),
  'readout': re.compile(r'kernel$'),
  'input': re.compile(r'embedding$'),
  'vector': re.compile(''),
}
"""Kind -> names of its parameters; the first that matches."""


@dataclasses.dataclass(frozen=True)
class WidthRule:
  """How an optimizer's updates have to change with width, by kind of parameter."""

  rates: dict[str, float]
  """Exponents of w that multiply learning rates; 0 where absent."""
  shown: dict[str, float]
  """Exponents of w by which a parameter is larger in the eyes of the direction."""


def by_width(rates, shown=None):
  """Returns a decorator that gives an entry of OPTIMIZERS its WidthRule."""

  def declare(make):
    make.width_rule = WidthRule(rates, shown or {})
    return make

  return declare


ENTRYWISE = {'hidden': -1, 'query': -1, 'readout': -1}
"""Exponents of rates for updates whose entries have one size, as Adam's."""


def kind(name):
  """Returns the kind of the parameter `name`, one of KINDS."""
  return next(kind for kind, pattern in KINDS.items() if pattern.search(name))


def factors(build, name, width):
  """Returns {kind: what its learning rates are multiplied by} at the relative `width`.

  `build` is the entry `name` of OPTIMIZERS. Raises ConfigError for one without a
  WidthRule at another than the base width.
  """
  if width == 1:
    return dict.fromkeys(KINDS, 1.0)
  rule = getattr(build, 'width_rule', None)
  if rule is None:
    raise ConfigError(
      f'optimizer.name={name!r}: does not say how its rates change with width,'
      " as model.init='mup' needs; decorate it with `gpt_jax.optimizers.mup.by_width`,"
      ' or set model.mup_base_width=model.d_model.'
    )
  return {kind: float(width) ** rule.rates.get(kind, 0) for kind in KINDS}


def show(direction, build, width):
  """Returns `direction`, which sees parameters as large as its WidthRule says."""
  rule = getattr(build, 'width_rule', None)
  if width == 1 or rule is None or not rule.shown:
    return direction

  def enlarge(name, param):
    exponent = rule.shown.get(kind(name), 0)
    return float(width) ** exponent * param if exponent else param

  def update(updates, state, params=None):
    return direction.update(updates, state, pytree.map_named(enlarge, params))

  return optax.GradientTransformation(direction.init, update)
