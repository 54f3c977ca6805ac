"""What predictions are worth: numbers by name, and the tables behind them."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Scores:
  """Metrics of the predictions for one set, as the packages of the field give them."""

  metrics: dict[str, float]
  details: dict[str, Any] = dataclasses.field(default_factory=dict)
  """Plain JSON values: rows per class, a confusion matrix, a signature."""
