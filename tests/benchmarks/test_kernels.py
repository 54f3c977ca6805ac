"""Attention kernels are timed as the model calls them."""

from gpt_jax import attention
from gpt_jax.attention import dense
from gpt_jax.benchmarks import kernels, timing
from gpt_jax.core.errors import ConfigError


def test_kernels_are_called_as_in_the_model(monkeypatch):
  seen = []

  def probe(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None):
    seen.append((q_BHTK.shape, k_BGSK.shape, q_BHTK.dtype.name, mask.causal, scale))
    return dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale)

  monkeypatch.setattr(attention, 'KERNELS', {'probe': probe})
  cases = kernels.sweep([16, 32], heads=4, kv_heads=2, head_dim=16, dtype='bfloat16')
  assert [case.name for case in cases] == [
    f'attention/probe/{T}/{passes}' for T in (16, 32) for passes in ('forward', 'both')
  ]
  # As many tokens at each length.
  assert seen[0] == ((2, 4, 16, 16), (2, 2, 16, 16), 'bfloat16', True, 0.25)
  assert seen[-1] == ((1, 4, 32, 16), (1, 2, 32, 16), 'bfloat16', True, 0.25)
  for case in cases:
    case.run(1)


def test_a_kernel_that_fails_is_skipped(monkeypatch):
  def refuses(*inputs, **options):
    raise ConfigError('needs a TPU')

  def exhausted(*inputs, **options):
    raise RuntimeError('RESOURCE_EXHAUSTED: 17 GiB')

  monkeypatch.setattr(attention, 'KERNELS', {'no': refuses, 'big': exhausted})
  cases = kernels.sweep([16], heads=1, kv_heads=1, head_dim=8, dtype='float32')
  assert [type(case) for case in cases] == [timing.Skipped] * 4
  assert cases[0].reason == 'needs a TPU'
  assert 'no memory' in cases[2].reason


def test_causal_flops_are_half_of_the_square():
  assert kernels.causal_flops(2, 8, 3, 4, 'forward') == 4 * 2 * 3 * 4 * 8 * 8 / 2
  ratio = kernels.causal_flops(1, 8, 1, 4, 'both') / kernels.causal_flops(
    1, 8, 1, 4, 'forward'
  )
  assert ratio == 3.5


def test_every_registered_kernel_is_timed(timed):
  shown = {case.name.split('/')[1] for case in kernels.cases(timed)}
  assert shown == set(attention.KERNELS)
