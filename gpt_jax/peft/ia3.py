"""(IA)^3: trained vectors that multiply keys, values and the MLP's hidden layer.

  k' = l_k k,   v' = l_v v,   y = (l_ff h) W_down        all l = 1 at first

arXiv:2205.05638, section 3.3. Outputs are scaled after their bias.
"""

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import section
from gpt_jax.model.layers import Linear
from gpt_jax.peft import linears
from gpt_jax.peft.adapter import Adapter, Leaf, Merge

VECTOR = 'ia3'
_STREAM = 'BTD'  # letters of what several linear maps read


@section
class Ia3Options:
  # Regular expressions, searched in the paths of linear maps; '' is none.
  targets: str = 'key|value'  # whose outputs are scaled
  feedforward_targets: str = 'mlp/down'  # whose inputs are scaled


@entry(options=Ia3Options)
def make(config):
  """Returns the Adapter of a Config."""
  outputs = _chosen(config, 'targets')
  inputs = _chosen(config, 'feedforward_targets')
  if both := outputs.keys() & inputs.keys():
    raise ConfigError(
      f'peft.options.targets={config.peft.options.targets!r}: matches'
      f' {min(both)}, as feedforward_targets does; one vector scales its output or its'
      ' input, so make one of them narrower.'
    )
  if not outputs and not inputs:
    raise ConfigError(
      "peft.options.targets='': nothing would train, as feedforward_targets is '' too;"
      " the paper's are 'key|value' and 'mlp/down'."
    )
  for path, linear in inputs.items():
    if linear.letters[0] == _STREAM:
      raise ConfigError(
        'peft.options.feedforward_targets='
        f'{config.peft.options.feedforward_targets!r}: matches {path}, whose input'
        ' other linear maps read as well; expected some of mlp/down and attention/out.'
        ' Name it in peft.options.targets to scale its output.'
      )
  added, merged = {}, {}
  for linear in outputs.values():
    added |= leaf_of(linear, linear.kept)
    merged |= _merges(linear, linear.kept)
  for linear in inputs.values():
    added |= leaf_of(linear, linear.contracted)
    merged |= _merges(linear, linear.contracted)
  return Adapter(
    name='ia3', added=added, intercept=_intercept(outputs, inputs), merged=merged
  )


def _chosen(config, option):
  pattern = getattr(config.peft.options, option)
  if not pattern:
    return {}
  found = linears.choose(config.model, pattern, f'peft.options.{option}')
  return {linear.path: linear for linear in found}


def leaf_of(linear, letters):
  """Returns {name: Leaf} of the vector over these dimensions of the kernel."""
  shape = (*linear.stack, *linear.sizes(letters))
  # Where the width is a vector's only dimension it is replicated: parallel/sharding.py.
  axes = ('embed_vector' if a == 'embed' else a for a in linear.axes_of(letters))
  axes = (*linear.stack_axes, *axes)
  return {f'{linear.path}/{VECTOR}': Leaf(shape, axes, jax.nn.initializers.ones)}


def _intercept(outputs, inputs):
  def intercept(call, args, kwargs, context):
    module = context.module
    if not isinstance(module, Linear):
      return call(*args, **kwargs)
    linear = linears.of_module(outputs, module)
    if context.method_name == 'finish' and linear:
      _, kernel, out = linear.letters
      return _scaled(module, call(*args, **kwargs), out, kernel)
    linear = linears.of_module(inputs, module)
    if context.method_name == '__call__' and linear:
      letters, kernel, _ = linear.letters
      return call(_scaled(module, args[0], letters, kernel))
    return call(*args, **kwargs)

  return intercept


def _scaled(module, x, letters, kernel):
  """Returns `x`, with dimensions `letters`, times the vector over those of `kernel`."""
  vector = module.get_variable('params', VECTOR)
  shared = [letter for letter in kernel if letter in letters]
  sizes = dict(zip(shared, vector.shape, strict=True))
  vector = vector.reshape([sizes.get(letter, 1) for letter in letters])
  # Rounded once: in bfloat16 a vector near 1 would be 1.
  return (x.astype(vector.dtype) * vector).astype(x.dtype)


def _merges(linear, letters):
  """Returns {parameter: Merge} of the kernel, and of the bias of a scaled output."""
  name, kernel = f'{linear.path}/{VECTOR}', linear.letters[1]

  def scale(weights, vector):
    sizes = dict(zip(letters, vector.shape[len(linear.stack) :], strict=True))
    shape = [*linear.stack, *(sizes.get(letter, 1) for letter in kernel)]
    return _times(weights, vector.reshape(shape))

  found = {linear.kernel: Merge((linear.kernel, name), scale)}
  if letters == linear.kept and linear.has_bias:
    bias = f'{linear.path}/bias'
    found[bias] = Merge((bias, name), _times)
  return found


def _times(weights, vector):
  return (weights.astype(jnp.float32) * vector).astype(weights.dtype)
