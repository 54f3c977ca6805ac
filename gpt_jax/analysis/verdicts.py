"""Claims held against results: reproduced, not reproduced, or not enough data."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from gpt_jax.analysis import rule_text
from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.sweeps import loading
from gpt_jax.sweeps.experiment import Claim, Outcome
from gpt_jax.sweeps.mistakes import Mistake

REPRODUCED = 'reproduced'
NOT_REPRODUCED = 'not reproduced'
NOT_ENOUGH_DATA = 'not enough data'
REPORTED = 'reported'


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What results say about a claim, and the numbers behind it."""

  claim: Claim
  verdict: str  # one of the four above
  numbers: Mapping[str, Any]  # JSON values, in the order in which they are shown
  note: str  # why there is not enough data; otherwise ''
  points: tuple[str, ...]  # names of those that the rule has read
  missing: tuple[str, ...]  # ... of those that it lacks
  rule: str  # its normalized text

  @property
  def name(self):
    return self.claim.name

  @property
  def statistics(self):
    return self.claim.statistics

  @property
  def digest(self):
    return rule_text.digest(self.rule)


def judge(study, results):
  """Returns a Verdict for each claim about the study's size, in the file's order.

  A rule that has looked at points which are not finished has not enough data, whatever
  it returns. Raises ConfigError where a rule fails although all of them are there.
  """
  return tuple(
    _judge(claim, study, results.fresh()) for claim in study.experiment.claims
  )


def _judge(claim, study, results):
  numbers, note, verdict = {}, '', NOT_ENOUGH_DATA
  try:
    outcome = claim.rule(results)
    if not isinstance(outcome, Outcome):
      raise TypeError(f'expected an Outcome, found {outcome!r}')
    numbers = {str(name): _as_json(value) for name, value in outcome.numbers.items()}
    if missing := _in_order(study, results.evidence.missing):
      note = _say_missing(missing) + f'; so far {"" if outcome.holds else "not "}so.'
    elif claim.kind == 'report_only':
      verdict = REPORTED
    else:
      verdict = REPRODUCED if outcome.holds else NOT_REPRODUCED
  except NotEnoughData as error:
    note = str(error)
  except Exception as error:
    # The mean of nothing, the lowest of nothing: no mistake while points are missing.
    missing = _in_order(study, results.evidence.missing)
    if isinstance(error, ConfigError) or not missing:
      raise _mistake(claim, study, error) from error
    note = f'{_say_missing(missing)} ({type(error).__name__}: {error}).'
  return Verdict(
    claim=claim,
    verdict=verdict,
    numbers=numbers,
    note=note,
    points=_in_order(study, results.evidence.used),
    missing=_in_order(study, results.evidence.missing),
    rule=_text(claim, study.experiment),
  )


def _text(claim, experiment):
  text = rule_text.text_of(claim.rule)
  # What best_over, and a rule without `metric`, are about.
  text += f'\nmetric = {experiment.metric}, higher = {experiment.higher_is_better}'
  return f'report_only\n{text}' if claim.kind == 'report_only' else text


def _say_missing(names):
  more = f' and {len(names) - 3} more' if len(names) > 3 else ''
  return f'not finished: {", ".join(names[:3])}{more}'


def _mistake(claim, study, error):
  source = loading.Source(study.path)
  what = str(error)
  if not isinstance(error, UserError):
    what = f'its rule raises {type(error).__name__}: {error}'
  text, line = f'claim {claim.name!r}: {what}', source.line_of_error(error)
  made = source.error([Mistake(text, (claim.name,), line)])
  # Data that a rule reads may be missing, and no mistake of the file.
  return type(error)(str(made)) if isinstance(error, UserError) else made


def _in_order(study, names):
  return tuple(point.name for point in study.points if point.name in names)


def _as_json(value):
  """Returns a number of a rule as a JSON value; what is not finite as text."""
  if hasattr(value, 'tolist'):
    value = value.tolist()
  if isinstance(value, Mapping):
    return {str(name): _as_json(one) for name, one in value.items()}
  if isinstance(value, list | tuple):
    return [_as_json(one) for one in value]
  if isinstance(value, float) and not math.isfinite(value):
    return str(value)
  if value is None or isinstance(value, bool | int | float | str):
    return value
  return str(value)
