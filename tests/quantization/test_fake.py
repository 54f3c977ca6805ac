"""Training with rounded kernels: the forward pass is that of the compressed model."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.parallel.sharded_matmul import MatmulSpec
from gpt_jax.quantization import fake, int4, int8
from gpt_jax.quantization.kernel_format import Layout
from tests import small_models


def test_kernels_are_rounded_and_gradients_pass():
  spec = MatmulSpec('BHTK,HKD->BTD')
  kernel = jax.random.normal(jax.random.key(0), (4, 8, 6))
  for name, format in (('int8', int8), ('int4', int4)):
    cfg = small_models.resolve(
      model__fake_quantization=name, model__quantization_group=16
    ).model
    layout = Layout(3, 0, 2)
    near = format.dequantize(*format.quantize(kernel, layout, 2), layout)
    np.testing.assert_allclose(fake.rounded(kernel, cfg, spec), near, atol=1e-6)
    weights = jax.random.normal(jax.random.key(1), kernel.shape)

    def loss(kernel, cfg=cfg, weights=weights):
      return (fake.rounded(kernel, cfg, spec) * weights).sum()

    np.testing.assert_array_equal(jax.grad(loss)(kernel), weights)
    assert float(jnp.abs(near - kernel).max()) > 1e-4
