"""What predictions are worth: numbers by name, and the tables behind them."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Scores:
  """Metrics of the predictions for one set, as the packages of the field give them."""

  metrics: dict[str, float]
  details: dict[str, Any] = dataclasses.field(default_factory=dict)
  """Plain JSON values: rows per class, a confusion matrix, a signature."""
  undefined: str = ''
  """Why some of the metrics are nan: what the set lacks that they need."""

  def json_metrics(self):
    """Returns the metrics as JSON has them: None for what is no finite number."""
    return {
      name: value if math.isfinite(value) else None
      for name, value in self.metrics.items()
    }


def tables_of(details):
  """Returns `{name: rows}` of the tables in details: lists of dicts of equal names."""
  return {
    name: rows
    for name, rows in details.items()
    if isinstance(rows, list)
    and rows
    and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)
  }
