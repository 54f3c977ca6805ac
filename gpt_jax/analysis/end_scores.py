"""Scores of a task at the end of a run: those of its best step, its test set included.

metrics.jsonl has evaluations during the training alone, and eval.json these.
"""

import math

from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.workdir import files
from gpt_jax.workdir.paths import Workdir


def of(name):
  """Returns a metric, a function of a Result, of a score such as 'test/accuracy'.

  NaN for a score that is not defined. The function raises NotEnoughData before the end
  of the run, and ConfigError for a score that it does not have.
  """

  def value(result):
    path = Workdir(result.point.workdir).eval
    if not path.exists():
      raise NotEnoughData(f'{path}: is not there yet; it holds {name}.')
    known = {
      f'{one}/{key}': score
      for one, scores in files.read_json(path).items()
      if isinstance(scores, dict)
      for key, score in scores.items()
    }
    if name not in known:
      hint = nearest(name, known)
      text = f'did you mean {hint!r}?' if hint else f'it has {", ".join(known)}.'
      raise ConfigError(f'{path}: no score {name!r}; {text}')
    return math.nan if known[name] is None else float(known[name])

  value.__name__ = name
  return value
