"""When a person takes over, and the transcript that they get."""

import dataclasses
import datetime
import json
import os
import pathlib
import uuid
from collections.abc import Callable

from gpt_jax.core.errors import ConfigError, StorageError

UNSURE_TURNS = 2  # one after the other
ANGRY = 0.9
ASKED = 'asked for a person'


@dataclasses.dataclass(frozen=True)
class Rules:
  """When a person takes over, besides being asked for."""

  unsure_turns: int = UNSURE_TURNS
  """So many questions in a row without an answer."""
  anger_of: Callable[[str], float] | None = None
  """`message -> probability of anger`; None: nobody measures it."""
  angry: float = ANGRY

  def reason_angry(self, message):
    """Returns why a person takes over from an angry message, '' for no reason."""
    if self.anger_of is not None and self.anger_of(message) >= self.angry:
      return 'the customer is angry'
    return ''

  def reason_unsure(self, num_unsure):
    """Returns why after so many questions without an answer, '' for no reason."""
    if num_unsure < self.unsure_turns:
      return ''
    return f'{num_unsure} questions in a row without an answer'


def anger_by(run, label):
  """Returns `message -> probability` of one class of a fine-tuned classifier.

  Raises ConfigError where the run is no classifier of texts, or has no such class.
  """
  task = run.predictor.task
  if task.name != 'classification':
    raise ConfigError(
      f'--sentiment: a run of task.name={task.name!r}; expected classification.'
    )
  if label not in task.label_names:
    raise ConfigError(
      f'--angry_label={label!r}: expected one of {", ".join(task.label_names)}, the'
      ' classes of --sentiment.'
    )

  def anger_of(message):
    found = run.predict(message)
    # None: longer than the run reads (task.too_long='drop').
    return 0.0 if found is None else float(found['probabilities'][label])

  return anger_of


def transcript_path(folder, now=None):
  """Returns the path of a new transcript. `now`: a datetime; None: by the clock."""
  now = now or datetime.datetime.now(datetime.UTC)
  return pathlib.Path(folder) / f'{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}.json'


def write_transcript(path, turns, reason, redact):
  """Writes the transcript of a conversation, readable by its owner alone.

  Args:
    path: of `transcript_path`; its folder is made if it is not there.
    turns: dicts with what was said.
    redact: `text -> text` without what must not be kept.
  Raises StorageError.
  """
  record = dict(reason=reason, turns=_mapped(turns, redact))
  try:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), 'w') as file:
      json.dump(record, file, ensure_ascii=False, indent=2)
  except OSError as error:
    raise StorageError(
      f'--transcripts={path.parent}: cannot be written ({error.strerror or error}).'
    ) from error


def _mapped(value, change):
  """Returns plain JSON values with each text changed, keys as they are."""
  if isinstance(value, str):
    return change(value)
  if isinstance(value, dict):
    return {key: _mapped(one, change) for key, one in value.items()}
  if isinstance(value, list | tuple):
    return [_mapped(one, change) for one in value]
  return value
