"""How often each source of a mixture is seen in an epoch of the corpus.

Documents of a source with 2.5 epochs are written twice, and half of them once more; of
one with 0.5 half are left out.
Repeating up to four times costs little (Muennighoff et al. 2023, arXiv:2305.16264).
"""

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry, nearest
from gpt_jax.core.sections import comma_separated, section
from gpt_jax.corpus.step import Step

MOST = 100


@section
class Options:
  """Epochs of each source."""

  sources: tuple[str, ...] = comma_separated(())  # NAME=EPOCHS of data.mixture


class Epochs(Step):
  """Writes training documents as often as their source says, others once."""

  def __init__(self, epochs):
    """`epochs`: {name in data.mixture: number}; 1 for names that are not there."""
    self._epochs = epochs

  def keep(self, document):
    is_seen = not document.is_training or self._times(document)
    return None if is_seen else 'beyond the epochs of its source'

  def copies(self, document):
    return self._times(document) if document.is_training else 1

  def _times(self, document):
    epochs = self._epochs.get(document.member, 1.0)
    return int(epochs) + (position(document) < epochs - int(epochs))

  def describe(self):
    return {'epochs': self._epochs}


def position(document):
  """Returns a number from 0 up to 1 that is one document's, whatever is around it."""
  # Splits are made of the first 8 bytes.
  return int.from_bytes(document.digest[8:16], 'big') / 2**64


@entry(options=Options)
def make(options, context):
  """Returns the step. Raises ConfigError for names and numbers that are none."""
  known, epochs, problems = sorted(context.config.data.mixture), {}, []
  where = f'--step=epochs:sources={",".join(options.sources)}'
  for text in options.sources:
    name, _, number = text.partition('=')
    if name not in known:
      hint = nearest(name, known)
      listed = f'; it has {", ".join(known)}' if known else ', which is empty'
      guess = f'; did you mean {hint!r}?' if hint else f'{listed}.'
      problems.append(f'{where}: no {name!r} in data.mixture{guess}')
      continue
    try:
      epochs[name] = float(number)
    except ValueError:
      epochs[name] = -1.0
    if not 0 <= epochs[name] <= MOST:
      problems.append(
        f'{where}: {text!r}; expected NAME=EPOCHS with a number from 0 to {MOST}.'
      )
  if not options.sources:
    problems.append('--step=epochs: expected sources=NAME=EPOCHS,NAME=EPOCHS.')
  if problems:
    raise ConfigError('\n'.join(problems))
  return Epochs(epochs)
