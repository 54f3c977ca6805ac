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
  note: str  # why there is not enough data, or which runs have diverged
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
  it returns; so has one that fails at points which have diverged, and a fit that cannot
  be made. Raises ConfigError where a rule fails for another reason.
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
      note = (
        _say(missing, 'not finished') + f'; so far {"" if outcome.holds else "not "}so.'
      )
    elif claim.kind == 'report_only':
      verdict = REPORTED
    else:
      verdict = REPRODUCED if outcome.holds else NOT_REPRODUCED
    if verdict != NOT_ENOUGH_DATA and (diverged := _diverged(study, results)):
      note = f'{_say(diverged, "diverged")}.'
  except NotEnoughData as error:
    note = str(error)
  except Exception as error:
    note = _why_not(error, study, results)
    if not note:
      raise _mistake(claim, study, error) from error
  return Verdict(
    claim=claim,
    verdict=verdict,
    numbers=numbers,
    note=note,
    points=_in_order(study, results.evidence.used),
    missing=_in_order(study, results.evidence.missing),
    rule=_text(claim, study.experiment),
  )


def _why_not(error, study, results):
  """Returns why a rule cannot judge these results; '' where the rule is mistaken."""
  if isinstance(error, ConfigError):
    return ''
  # The mean of nothing, the lowest of nothing: no mistake while points are missing.
  if missing := _in_order(study, results.evidence.missing):
    return f'{_say(missing, "not finished")} ({type(error).__name__}: {error}).'
  if diverged := _diverged(study, results):
    return f'{_say(diverged, "diverged")} ({type(error).__name__}: {error}).'
  # Of `fits`: too few runs, or too far apart. Others are about files.
  return str(error) if type(error) is UserError else ''


def _text(claim, experiment):
  text = rule_text.text_of(claim.rule)
  # What best_over, and a rule without `metric`, are about.
  text += f'\nmetric = {experiment.metric}, higher = {experiment.higher_is_better}'
  return f'report_only\n{text}' if claim.kind == 'report_only' else text


def _diverged(study, results):
  used = _in_order(study, results.evidence.used)
  return [name for name in used if results.found[name].diverged]


def _say(names, what):
  more = f' and {len(names) - 3} more' if len(names) > 3 else ''
  return f'{what}: {", ".join(names[:3])}{more}'


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
