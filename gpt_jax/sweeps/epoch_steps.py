"""Lengths in epochs as steps, before a point runs: its training data is opened once."""

import contextlib
import dataclasses
import io

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.program import epochs, setup, task_data


class EpochSteps:
  """Fills in the Configs of points; those of the same data share what was read."""

  def __init__(self):
    self._found = {}  # key -> (completed sections by name, rows of an epoch)

  def fill_in(self, config, workdir):
    """Returns a Config whose lengths in epochs are given in steps as well.

    And whose labels are those of the training examples, as the run will save them.
    Raises a UserError where the data cannot be opened before the run.
    """
    if not epochs.has_epochs(config):
      return config
    # What decides how many rows there are: no rate, no method.
    key = repr(
      (config.data, config.task, config.tokenizer, config.init_from, config.objective)
    )
    if key not in self._found:
      self._found[key] = _read(config, workdir)
    sections, rows = self._found[key]
    return epochs.fill_in(dataclasses.replace(config, **sections), range(rows))


def _read(config, workdir):
  """Returns ({'task', 'objective'} with their labels, rows of an epoch)."""
  with contextlib.redirect_stderr(io.StringIO()):  # the run says its notes itself
    try:
      config = task_data.complete(config)
      tokenizer = setup.open_tokenizer(config, workdir)
      rows = len(setup.open_training_data(config, tokenizer, workdir))
    except UserError as error:
      raise ConfigError(
        f'train.epochs: the steps of an epoch are known once its data is open: {error}'
      ) from error
  return dict(task=config.task, objective=config.objective), rows
