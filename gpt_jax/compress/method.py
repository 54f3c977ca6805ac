"""What a method of compression is given, and what it returns."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.types import PyTree


@dataclasses.dataclass(frozen=True)
class Given:
  """A trained model that a method makes smaller."""

  config: Any  # its Config, without adapter; model.vocab_size has the embedding's rows
  params: PyTree  # nested dicts, in full, on one device
  options: Any  # what the method declares by `registry.entry(options=...)`
  # (make_intercept, number of batches) -> {name: array}, as `program.observe` has it:
  # sums over batches of training data. None: the run has no data; ask `require_data`.
  observe: Callable | None = None
  progress: Callable = lambda items, label, total: items

  def require_data(self, method):
    """Returns `observe`; ConfigError where there is no data to calibrate with."""
    if self.observe is None:
      raise ConfigError(
        f'--method={method}: calibrates on text, and the run has no data of its own;'
        ' give --data=FILE, a text file.'
      )
    return self.observe


@dataclasses.dataclass(frozen=True)
class Compressed:
  """What a method made of a model."""

  params: PyTree
  # {dotted field: value}: in what the new run's config differs, such as
  # {'model.num_layers': 4}.
  fields: Mapping[str, Any]
  notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  """JSON values about what was done, for run.json and --json."""
