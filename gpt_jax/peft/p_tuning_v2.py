"""P-tuning v2: trained keys and values before the text, arXiv:2110.07602.

As prefix tuning without its MLP; for encoders and small models too (section 3.2).
"""

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import at_least, section
from gpt_jax.peft import prefix


@section
class PTuningOptions:
  length: int = at_least(1, default=20)  # virtual tokens


@entry(options=PTuningOptions)
def make(config):
  """Returns the Adapter of a Config."""
  added = prefix.direct_leaves(config.model, config.peft.options.length)
  return prefix.of_leaves(config, 'p_tuning_v2', added)
