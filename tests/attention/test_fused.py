"""The fused kernel: what it refuses, half precision. Its values: test_kernels.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import fused, masks
from gpt_jax.core.errors import ConfigError
from tests import small_models as small


def heads(dtype='float32'):
  values = np.random.default_rng(0).normal(size=(1, 2, 4, 8))
  return jnp.asarray(values, dtype)


def test_a_soft_cap_is_refused_with_the_kernel_that_can():
  q_BHTK = heads()
  with pytest.raises(ConfigError, match=r'attention.softcap=2.0.*kernel="dense"'):
    fused.attend(q_BHTK, q_BHTK, q_BHTK, masks.causal(), scale=1.0, softcap=2.0)


def test_dropout_is_refused_with_the_kernel_that_can():
  q_BHTK = heads()
  with pytest.raises(ConfigError, match=r'model.attention_dropout.*kernel="dense"'):
    fused.attend(q_BHTK, q_BHTK, q_BHTK, masks.causal(), scale=1.0, dropout=lambda x: x)


def test_loading_a_config_refuses_both():
  with pytest.raises(ConfigError, match=r'attention.softcap=2.0.*dense'):
    small.resolve(attention__kernel='fused', attention__softcap=2.0)
  with pytest.raises(ConfigError, match=r'model.attention_dropout=0.1.*dense'):
    small.resolve(attention__kernel='fused', model__dropout=0.1)
  small.resolve(
    attention__kernel='fused', model__dropout=0.1, model__attention_dropout=0.0
  )


def test_padding_in_half_precision_is_finite_both_ways():
  q_BHTK = heads('bfloat16')
  mask = masks.causal(jnp.array([[1, 1, 0, 0]]))

  def total(q_BHTK):
    out_BHTK = fused.attend(q_BHTK, q_BHTK, q_BHTK, mask, scale=1.0)
    return out_BHTK.astype(jnp.float32).sum()

  value, grad = jax.value_and_grad(total)(q_BHTK)
  assert np.isfinite(value) and np.isfinite(grad.astype(jnp.float32)).all()
