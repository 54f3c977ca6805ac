"""References of generated texts: one or several for each example."""

from gpt_jax.core.errors import DataError


def require_lists(metric, references_of):
  """Raises DataError unless each example has a list of one reference or more."""
  for row, texts in enumerate(references_of):
    if isinstance(texts, str) or not texts:
      raise DataError(
        f'{metric}: references[{row}]={texts!r}: expected a list of at least one text.'
      )


def streams(references_of):
  """Returns the k-th references of all examples, for each k; None where one has fewer.

  sacreBLEU reads references in this order.
  """
  most = max(map(len, references_of))
  return [
    [texts[k] if k < len(texts) else None for texts in references_of]
    for k in range(most)
  ]
