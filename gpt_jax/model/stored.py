"""Parameters of layers in few bits: how they are declared, and multiplied with.

`model.quantization` declares them; `peft.base_storage` puts them in place of others.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.core.errors import Problem
from gpt_jax.model.initializers import with_axes
from gpt_jax.parallel import sharded_matmul
from gpt_jax.quantization import int8, linear, packed, rows
from gpt_jax.quantization.kernel_format import Layout, num_groups


def problems(config):
  """Yields the Problems of a Config's weights in few bits."""
  cfg = config.model
  if cfg.quantized_activations and cfg.quantization != 'int8':
    text = (
      "=True: inputs in 8 bits go with kernels in 8 bits: model.quantization='int8'"
    )
    yield Problem('model.quantized_activations', text)
  if cfg.outlier_threshold and not cfg.quantized_activations:
    text = f'={cfg.outlier_threshold}: of inputs in 8 bits; set'
    yield Problem('model.outlier_threshold', f'{text} model.quantized_activations=True')
  if cfg.fake_quantization != 'none' and cfg.quantization != 'none':
    text = f'={cfg.fake_quantization!r}: rounds kernels that train; those of'
    text += f" model.quantization={cfg.quantization!r} do not: set 'none'"
    yield Problem('model.fake_quantization', text)


def kernel(module, linear_map, init):
  """Returns the codes of a kernel of `module`, which declares them and their parts.

  `linear_map` has shape and axes; `init` is the initializer of the kernel in full.
  """
  cfg, shape = module.cfg, linear_map.shape
  format = packed.FORMATS[cfg.quantization]
  layout = Layout(len(shape), 0, len(linear_map.contracted))
  groups = num_groups(linear_map.fan_in, cfg.quantization_group)

  def quantized(key):
    return format.quantize(init(key, shape, jnp.float32), layout, groups)

  for name, part in format.parts_of(linear_map, cfg.quantization_group).items():
    # Arrays with a width only are not sharded along it: `parallel.sharding`.
    axes = ('embed_vector' if a == 'embed' else a for a in part.axes)
    # Of other random numbers than the codes are: of a fresh model.
    made = with_axes(lambda key, name=name: quantized(key)[1][name], *axes)
    module.param(name, made)
  return module.param(
    'kernel', with_axes(lambda key: quantized(key)[0], *linear_map.axes)
  )


def embedding(module, init, shape, axes):
  """Returns the codes of an embedding of `module`, which declares them and scales."""

  def quantized(key):
    return rows.quantize(init(key, shape, jnp.float32))

  scale_axis = f'{axes[0]}_vector' if axes[0] == 'vocab' else axes[0]
  module.param(rows.SCALE, with_axes(lambda key: quantized(key)[1], scale_axis, None))
  return module.param(rows.NAME, with_axes(lambda key: quantized(key)[0], *axes))


def multiplies(module):
  """Returns whether `multiply` takes a bound Linear: its kernel is not gathered."""
  if not packed.is_packed(module.kernel):
    return False
  return module.rules is None or gathered_spec(module) is None


def multiply(module, x):
  """Returns `x` times the kernel of a bound Linear, in the dtype of `x`."""
  return linear.multiply(_product(module), x, leaves_of(module))


def rounded_inputs(module, x):
  """Returns `x` as a bound Linear reads it: model.quantized_activations rounds it."""
  return (
    linear.rounded_inputs(_product(module), x)
    if module.cfg.quantized_activations
    else x
  )


def _product(module):
  cfg = module.cfg
  return linear.Product(
    module.spec.equation,
    cfg.param_dtype,
    cfg.quantized_activations,
    cfg.outlier_threshold,
  )


def head(module, init, shape):
  """Returns the untied output layer [D, V] of `module` in full, declared in int8."""
  layout = Layout(2, 0, 1)

  def quantized(key):
    return int8.quantize(init(key, shape, jnp.float32), layout)

  scale = with_axes(lambda key: quantized(key)[1][int8.SCALE], 'vocab_vector')
  parts = {int8.SCALE: module.param(int8.SCALE, scale)}
  codes = with_axes(lambda key: quantized(key)[0], 'embed', 'vocab')
  kernel_DV = int8.dequantize(module.param('kernel', codes), parts, layout)
  return kernel_DV.astype(module.cfg.param_dtype)


def head_leaves(model):
  """Returns what `multiply_head` takes of a bound GPT; None: it is not in few bits."""
  if not model.cfg.quantized_embedding:
    return None
  found = model.get_variable('params', 'embed' if model.cfg.tie_embeddings else 'head')
  names = rows.NAME, rows.SCALE, 'kernel', int8.SCALE
  return {name: nn.meta.unbox(found[name]) for name in names if name in found}


def multiply_head(cfg, x_BTD, leaves):
  """Returns raw logits, float32 [B, T, V], of an output layer in int8."""
  equation = 'BTD,VD->BTV' if rows.NAME in leaves else 'BTD,DV->BTV'
  return linear.multiply(
    linear.Product(equation, cfg.param_dtype), x_BTD, leaves, jnp.float32
  )


def leaves_of(module):
  """Returns {'kernel': codes, part: array} of a bound Linear."""
  return {'kernel': module.kernel} | {
    name: part(module, name)
    for name in packed.KERNEL_PARTS
    if module.has_variable('params', name)
  }


def part(module, name):
  """Returns what stands beside the codes of a bound module, by its name."""
  return nn.meta.unbox(module.get_variable('params', name))


def gathered_spec(module):
  """Returns the MatmulSpec of a kernel whose codes are gathered; None: none is."""
  return sharded_matmul.gathered(module.rules, module.spec)


def gathered_kernel(module):
  """Returns the kernel of a bound Linear in full, as matmuls read it.

  What they would gather, in 16 bits or more, is gathered in codes.
  """
  spec, leaves = gathered_spec(module), leaves_of(module)
  product = linear.Product(module.spec.equation, module.cfg.param_dtype)

  def in_full(leaves):
    if spec:
      leaves = _gathered(module.rules, spec, leaves)
    # As the plain model with these kernels would round them.
    return product.kernel(leaves, module.cfg.dtype)

  # One operation to `model.remat`: the kernel is made again for the backward pass.
  frozen = jax.custom_vjp(in_full)
  frozen.defvjp(lambda leaves: (in_full(leaves), None), lambda _, d: (None,))
  return frozen(leaves)


def _gathered(rules, spec, leaves):
  """Returns codes and parts of a kernel as a MatmulSpec wants it; blocks are whole."""
  _, letters, out = spec.letters
  axes = dict(zip(letters, spec.kernel_axes, strict=True))
  kept = [axes[letter] for letter in letters if letter in out]

  def placed(name, leaf):
    if name == 'kernel':
      return rules.constrain(leaf, *spec.kernel_axes)
    # Else XLA computes the kernel where its scales lie, and gathers that.
    return rules.constrain(leaf, *[None] * (leaf.ndim - len(kept)), *kept)

  return {name: placed(name, leaf) for name, leaf in leaves.items()}
