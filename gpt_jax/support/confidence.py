"""Whether the documents answer a question at all: a threshold, chosen on examples.

A logistic regression over what search and answerer say gives the probability that the
documents have the answer; below the threshold none is given. Both are fitted on
questions that the documents answer and on ones that they do not.
"""

import dataclasses
import math

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.retrieval import terms
from gpt_jax.workdir import files

FILE = 'confidence.json'
FEATURES = ('bm25', 'cosine', 'log_prob')
L2 = 1.0  # of the weights, whose features have variance 1
STEPS = 50
LEAST_EXAMPLES = 8  # of each kind


@dataclasses.dataclass(frozen=True)
class Confidence:
  """A fitted threshold."""

  mean: tuple[float, ...]  # of FEATURES
  scale: tuple[float, ...]
  weights: tuple[float, ...]
  bias: float
  threshold: float
  false_answers: float  # share of unanswerable questions that were answered
  false_refusals: float  # share of answerable questions that were not
  num_answerable: int
  num_unanswerable: int

  def probability(self, features):
    """Returns the probability that the documents answer a question."""
    unit = (np.array(features) - self.mean) / self.scale
    return float(_sigmoid(unit @ np.array(self.weights) + self.bias))


def features_of(question, hits, found):
  """Returns FEATURES of a question: of the best hit, and of the Answer.

  BM25 is that per term of the question; without an encoder the cosine is 0.
  """
  best_bm25 = max((hit.bm25 for hit in hits), default=0.0)
  best_cosine = max((hit.cosine or 0.0 for hit in hits), default=0.0)
  return (
    best_bm25 / max(len(terms.terms(question)), 1),
    best_cosine,
    found.log_prob,
  )


def fit(features_ND, is_answerable_N):
  """Returns the Confidence of examples.

  The threshold is the one with the smallest sum of both error rates (Youden's J). The
  rates are those of these examples: on new ones they are a little higher. Raises
  DataError where there are few of a kind.
  """
  features_ND = np.asarray(features_ND, float)
  wanted_N = np.asarray(is_answerable_N, bool)
  num_answerable, num_unanswerable = int(wanted_N.sum()), int((~wanted_N).sum())
  if min(num_answerable, num_unanswerable) < LEAST_EXAMPLES:
    raise DataError(
      f'--questions: {num_answerable} questions are answered by the documents and'
      f' {num_unanswerable} are not; a threshold needs {LEAST_EXAMPLES} of each.'
    )
  mean_D = features_ND.mean(0)
  std_D = features_ND.std(0)
  scale_D = np.where(std_D > 1e-9, std_D, 1.0)
  weights_E = _logistic((features_ND - mean_D) / scale_D, wanted_N)
  logits_N = ((features_ND - mean_D) / scale_D) @ weights_E[:-1] + weights_E[-1]
  threshold, rates = choose_threshold(_sigmoid(logits_N), wanted_N)
  return Confidence(
    tuple(mean_D.tolist()),
    tuple(scale_D.tolist()),
    tuple(weights_E[:-1].tolist()),
    float(weights_E[-1]),
    threshold,
    *rates,
    num_answerable,
    num_unanswerable,
  )


def choose_threshold(probability_N, is_answerable_N):
  """Returns (threshold, (share of false answers, share of false refusals))."""
  order = np.unique(probability_N)
  between = (order[1:] + order[:-1]) / 2
  candidates = [0.0, *between.tolist(), 1.0]
  rates = [error_rates(probability_N, is_answerable_N, one) for one in candidates]
  chosen = min(range(len(candidates)), key=lambda i: sum(rates[i]))
  return candidates[chosen], rates[chosen]


def error_rates(probability_N, is_answerable_N, threshold):
  """Returns (share of unanswerable ones answered, share of answerable ones refused)."""
  wanted_N = np.asarray(is_answerable_N, bool)
  answered_N = np.asarray(probability_N) >= threshold
  false_answers = answered_N[~wanted_N].mean() if (~wanted_N).any() else math.nan
  false_refusals = (~answered_N[wanted_N]).mean() if wanted_N.any() else math.nan
  return float(false_answers), float(false_refusals)


def load(folder, key):
  """Returns the Confidence of an answerer for the index in `folder`; None if unfitted.

  `key`: which answerer and search method.
  """
  path = folder / FILE
  if not path.exists():
    return None
  record = files.read_json(path).get(key)
  if record is None:
    return None
  lists = ('mean', 'scale', 'weights')
  return Confidence(**record | {name: tuple(record[name]) for name in lists})


def save(folder, key, found):
  """Keeps the Confidence of an answerer beside the index."""
  path = folder / FILE
  record = files.read_json(path) if path.exists() else {}
  files.write_json(path, record | {key: dataclasses.asdict(found)})


def _logistic(features_ND, wanted_N):
  """Returns weights and bias [D + 1] by Newton's method."""
  x_NE = np.column_stack([features_ND, np.ones(len(features_ND))])
  weights_E = np.zeros(x_NE.shape[1])
  penalty_E = np.array([L2] * features_ND.shape[1] + [1e-6])
  for _ in range(STEPS):
    p_N = _sigmoid(x_NE @ weights_E)
    gradient_E = x_NE.T @ (p_N - wanted_N) + penalty_E * weights_E
    hessian_EE = (x_NE * (p_N * (1 - p_N))[:, None]).T @ x_NE + np.diag(penalty_E)
    step_E = np.linalg.solve(hessian_EE, gradient_E)
    weights_E -= step_E
    if np.abs(step_E).max() < 1e-9:
      break
  return weights_E


def _sigmoid(x):
  return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
