"""Quantization-aware training: weights rounded in the forward pass alone.

Gradients pass as if nothing were rounded (the straight-through estimator,
arXiv:1308.3432): arXiv:1712.05877, section 3.
"""

import jax

from gpt_jax.quantization import packed
from gpt_jax.quantization.kernel_format import Layout, num_groups


def rounded(kernel, cfg, spec):
  """Returns a kernel rounded as model.fake_quantization would store it.

  `spec`: the MatmulSpec of the kernel.
  """
  left, letters, _ = spec.letters
  layout = Layout(len(letters), 0, sum(letter in left for letter in letters))
  format = packed.FORMATS[cfg.fake_quantization]
  fan_in = 1
  for axis in layout.contracted:
    fan_in *= kernel.shape[axis]
  groups = num_groups(fan_in, cfg.quantization_group)
  codes, parts = format.quantize(kernel, layout, groups)
  near = format.dequantize(codes, parts, layout).astype(kernel.dtype)
  return kernel + jax.lax.stop_gradient(near - kernel)
