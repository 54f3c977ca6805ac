"""BitFit: the biases of a model train and nothing else, arXiv:2106.10199."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import one_of, section
from gpt_jax.peft.adapter import Adapter, base_names

_LAST_PARTS = ('bias', 'head_bias')


@section
class BitFitOptions:
  # query_and_up: of queries and of the MLP's first layer, which do almost as well
  # (section 4, "Fewer bias parameters").
  biases: str = one_of('all', 'query_and_up', default='all')


@entry(options=BitFitOptions)
def make(config):
  """Returns the Adapter of a Config; ConfigError where the model has no such biases."""
  which = config.peft.options.biases
  biases = frozenset(name for name in base_names(config.model) if _trains(which, name))
  if not biases:
    raise ConfigError(_why_none(config.model, which))
  return Adapter(name='bitfit', added={}, trains=biases.__contains__, merged={})


def _trains(which, name):
  *_, module, last = ('', *name.split('/'))
  if last not in _LAST_PARTS:
    return False
  return which == 'all' or module in ('query', 'up')


def _why_none(cfg, which):
  if which == 'query_and_up' and any(_trains('all', name) for name in base_names(cfg)):
    return (
      'peft.options.biases="query_and_up": queries and MLPs of this model have no bias'
      f' (model.qkv_bias={cfg.qkv_bias}, model.mlp_bias={cfg.mlp_bias}); set "all".'
    )
  return (
    "peft.name='bitfit': trains biases, and this model has none"
    f' (model.bias={cfg.bias}). Take a method that adds parameters, such as "lora" or'
    ' "ia3", or a base with biases, such as a BERT or a GPT-2.'
  )
