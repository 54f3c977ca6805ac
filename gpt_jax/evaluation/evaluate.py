"""Held-out metrics: loss, perplexity, accuracy, bits per byte, excess over entropy."""

import math

from gpt_jax.data import loader

MAX_EXPONENT = 700.0  # exp() of more overflows a float64


def evaluate(
  evaluate_batch,
  params,
  dataset,
  *,
  batch_size,
  place,
  process_index=0,
  process_count=1,
  max_batches=0,
  predicts_text=True,
  progress=None,
):
  """Returns the metrics of one unshuffled pass over `dataset`, plain floats by name.

  Every target of the split counts once, whatever the batch size; padding does not
  count.

  Args:
    evaluate_batch: `(params, batch, index) -> {nll, targets, correct, bytes}` sums.
    place: puts the local rows of a host batch on the devices.
    predicts_text: as in `metrics_from_sums`.
    progress: `(iterable, total) -> iterable` that displays a progress bar.
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
    result = evaluate_batch(params, place(batch), index)
    _add(sums, pending)
    pending = result
  _add(sums, pending)
  return metrics_from_sums(sums, dataset.entropy, predicts_text)


def metrics_from_sums(sums, entropy=None, predicts_text=True):
  """Returns the metrics of summed `nll`, `targets`, `correct` and `bytes`.

  `loss` is nats per target; `bits_per_byte` divides the same nats by the bytes of text
  that the targets stand for; `excess` is the loss over the `entropy` of a synthetic
  language. Both are left out where targets are not the text itself, left to right
  (`predicts_text` False).
  """
  loss = sums['nll'] / max(sums['targets'], 1.0)
  result = dict(loss=loss, perplexity=math.exp(min(loss, MAX_EXPONENT)))
  if predicts_text and sums.get('bytes'):
    result['bits_per_byte'] = sums['nll'] / math.log(2) / sums['bytes']
  result['accuracy'] = sums['correct'] / max(sums['targets'], 1.0)
  result['tokens'] = int(sums['targets'])
  if predicts_text and entropy is not None:
    result |= dict(entropy=entropy, excess=loss - entropy)
  return result


def _add(sums, part):
  for name, value in (part or {}).items():
    sums[name] = sums.get(name, 0.0) + float(value)


def by_set(scores, step):
  """Returns `{set: {metric: value}, 'step': step}` from flat `set/metric` names."""
  result = {'step': step}
  for name, value in scores.items():
    set_name, _, metric = name.rpartition('/')
    result.setdefault(set_name, {})[metric] = value
  return result
