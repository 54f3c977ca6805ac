"""The last layers train, with the norm and the heads after them: arXiv:1911.03090.

As `optimizer.train_last_layers`, but a checkpoint holds what trains alone.
"""

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import at_least, section
from gpt_jax.objectives import describe
from gpt_jax.optimizers import last_layers
from gpt_jax.peft.adapter import Adapter, base_names

_FIELD = 'peft.options.layers'


@section
class LastLayersOptions:
  # A fourth of BERT's 12 keeps 90 % of the quality (abstract); 0: the heads alone.
  layers: int = at_least(0, default=3)


def problems(config):
  """Yields the Problems of a Config whose layers cannot be parted like this."""
  yield from last_layers.problems_of(config.model, config.peft.options.layers, _FIELD)


@entry(options=LastLayersOptions, problems=problems)
def make(config):
  """Returns the Adapter of a Config."""
  count, names = config.peft.options.layers, base_names(config.model)
  trained = frozenset(names) - last_layers.frozen(count, names)
  if not trained and not describe(config).num_outputs:
    raise ConfigError(
      f'{_FIELD}={count}: nothing would train, as the embedding is the only output'
      ' layer (model.tie_embeddings); set at least 1, or an objective with a task head.'
    )
  return Adapter(name='last_layers', added={}, trains=trained.__contains__, merged={})
