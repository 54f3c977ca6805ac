"""Held-out figures: loss, perplexity, bits per byte, and the exact floor if known."""

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
  """Returns the figures of one unshuffled pass over `dataset`, plain floats by name.

  Every target of the split counts once, whatever the batch size; padding counts
  nothing. `loss` is nats per target; `bits_per_byte` sets the same nats against the
  bytes of raw text that the targets stand for. Synthetic languages also give their
  `entropy` and the `excess` of the loss over it.

  Args:
    evaluate_batch: `(params, batch, index) -> {nll, targets, correct, bytes}` sums.
    place: puts the local rows of a host batch on the devices.
    predicts_text: False where targets are not the text itself, left to right: neither
      its bytes nor its entropy are theirs then.
    progress: `(iterable, total) -> iterable` that shows how far it is.
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
  """Returns the figures that summed `nll`, `targets`, `correct` and `bytes` give."""
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
  """Returns `{set: {figure: value}, 'step': step}` from flat `set/figure` names."""
  result = {'step': step}
  for name, value in scores.items():
    set_name, _, figure = name.rpartition('/')
    result.setdefault(set_name, {})[figure] = value
  return result
