"""A model's kernels and embedding in few bits, as `model.quantization` has them."""

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import linear_maps
from gpt_jax.quantization import packed
from gpt_jax.quantization.kernel_format import Layout, num_groups

EMBEDDING, HEAD = 'embed/embedding', 'head/kernel'


def require_full(given, method):
  """Raises ConfigError for a model that is quantized already."""
  cfg = given.config.model
  if cfg.quantization != 'none' or cfg.quantized_embedding:
    raise ConfigError(
      f'--method={method}: the run is quantized already'
      f' (model.quantization={cfg.quantization!r}); give the run that it was made of.'
    )


def fields(format, embedding, **more):
  """Returns the fields of a Config that say what is stored; `more`: of the model."""
  found = {
    'model.quantization': format,
    'model.quantized_embedding': embedding,
    'model.fake_quantization': 'none',
  }
  return found | {f'model.{name}': value for name, value in more.items()}


def layout_of(linear):
  """Returns the Layout of the kernel of a LinearMap."""
  return Layout(len(linear.shape), len(linear.stack), len(linear.contracted))


def store_kernels(params, cfg, format, group=0, encoded=None):
  """Returns `params` with the kernels of all blocks in a format of packed.FORMATS.

  `encoded`: {name of a kernel: its leaves} of those that are there already.
  """
  leaves, encoded = dict(pytree.named_leaves(params)), encoded or {}
  dtype = packed.FORMATS[format].dtype
  for linear in linear_maps.find(cfg):
    if linear.kernel in encoded:
      leaves |= encoded[linear.kernel]
      continue
    groups = num_groups(linear.fan_in, group) if group else 0
    leaves |= packed.pack_kernel(
      linear.kernel, leaves[linear.kernel], dtype, layout_of(linear), groups
    )
  return pytree.nested(leaves)


def store_embedding(params):
  """Returns `params` with the embedding, and the untied output layer, in int8."""
  leaves = dict(pytree.named_leaves(params))
  leaves |= packed.pack_embedding(EMBEDDING, leaves[EMBEDDING])
  if HEAD in leaves:
    leaves |= packed.pack_kernel(
      HEAD, leaves[HEAD], packed.FORMATS['int8'].dtype, Layout(2, 0, 1)
    )
  return pytree.nested(leaves)


def matrix_layout(ndim):
  """Returns the Layout of matrices [stack, inputs, outputs] of so many dimensions."""
  return Layout(ndim, ndim - 2, 1)
