"""Held-out metrics: loss, perplexity, accuracy, bits per byte, excess over entropy."""

import math
from types import MappingProxyType

import numpy as np

from gpt_jax.data import loader
from gpt_jax.evaluation import metrics as output_metrics


def evaluate(
  evaluate_batch,
  params,
  dataset,
  *,
  batch_size,
  place,
  objective,
  metrics=MappingProxyType({}),
  process_index=0,
  process_count=1,
  max_batches=0,
  progress=None,
  on_predictions=None,
):
  """Returns the metrics of one unshuffled pass over `dataset`, plain floats by name.

  Every target of the split counts once, whatever the batch size; padding does not
  count.

  Args:
    evaluate_batch: `(params, batch, index) -> {name: sum}`, as Program.evaluate.
    place: puts the local rows of a host batch on the devices.
    objective, metrics: of what the sums are; as in `metrics_from_sums`.
    progress: `(iterable, total) -> iterable` that displays a progress bar.
    on_predictions: is called with those of each batch, numpy arrays [B, ...] by name.
  """
  batches = loader.evaluation_batches(
    dataset, batch_size, process_index, process_count, max_batches
  )
  total = -(-len(dataset) // batch_size)
  total = min(total, max_batches) if max_batches else total
  if progress is not None:
    batches = progress(batches, total)
  sums, pending = {}, None
  # One batch is fetched while the next is computed; float64 keeps long sums exact.
  for index, batch in enumerate(batches):
    result = dict(evaluate_batch(params, place(batch), index))
    _finish(sums, pending, on_predictions)
    pending = result
  _finish(sums, pending, on_predictions)
  return metrics_from_sums(sums, objective, metrics, dataset.entropy)


def metrics_from_sums(sums, objective, metrics=MappingProxyType({}), entropy=None):
  """Returns what an Objective and `{name: Metric}` make of sums over a set.

  Where the targets are the text itself, left to right (`objective.predicts_text`),
  `bits_per_byte` divides the nats by the bytes of text that the targets stand for, and
  `excess` is the loss over the `entropy` of a synthetic language.
  """
  result = objective.metrics(sums)
  if objective.predicts_text and sums.get('bytes'):
    result['bits_per_byte'] = float(sums['loss'] / math.log(2) / sums['bytes'])
  if objective.predicts_text and entropy is not None:
    result |= dict(entropy=entropy, excess=result['loss'] - entropy)
  return result | output_metrics.finished(metrics, sums)


def _finish(sums, part, on_predictions):
  """Adds the sums of a batch, once it is computed, and passes on its predictions."""
  part = part or {}
  predictions = part.pop('predictions', None)
  if predictions is not None and on_predictions is not None:
    on_predictions({name: np.asarray(value) for name, value in predictions.items()})
  for name, value in part.items():
    value = np.asarray(value, np.float64)
    sums[name] = sums.get(name, 0.0) + (value if value.ndim else float(value))


def by_set(scores, step):
  """Returns `{set: {metric: value}, 'step': step}` from flat `set/metric` names."""
  result = {'step': step}
  for name, value in scores.items():
    set_name, _, metric = name.rpartition('/')
    result.setdefault(set_name, {})[metric] = value
  return result
