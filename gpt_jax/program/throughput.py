"""Tokens per second and MFU: model FLOPs over what the device can do."""

import dataclasses
import time

import jax
import jax.numpy as jnp

from gpt_jax.core.matmul import einsum
from gpt_jax.hlo import costs
from gpt_jax.model import flops
from gpt_jax.parallel import chips
from gpt_jax.program import trained_sizes


@dataclasses.dataclass(frozen=True)
class Speed:
  tokens_per_second: float  # over all devices
  mfu: float | None  # a share of the peak


class Meter:
  """Measures throughput between reports; times are seconds of any monotonic clock."""

  def __init__(self, *, flops_per_token, peak):
    self._flops_per_token = flops_per_token
    self._peak = peak
    self._tokens, self._time = 0, 0.0

  def start(self, tokens, now):
    """Begins to measure at `tokens` seen."""
    self._tokens, self._time = tokens, now

  def measure(self, tokens, now):
    """Returns the Speed since the last call, and begins anew."""
    rate = (tokens - self._tokens) / max(now - self._time, 1e-9)
    self.start(tokens, now)
    mfu = rate * self._flops_per_token / self._peak if self._peak else None
    return Speed(rate, mfu)


def total_peak_flops(dtype):
  """Returns the peak FLOP/s of all devices together, published or measured."""
  device = jax.devices()[0]
  published = chips.peak_flops(device.device_kind, dtype)
  if published is not None:
    return published * jax.device_count()
  # Virtual devices of one CPU share its cores, so they count once.
  shares = jax.process_count() if device.platform == 'cpu' else jax.device_count()
  return measured_matmul_flops(dtype) * shares


def measured_matmul_flops(dtype, size=1024, rounds=3):
  """Returns the FLOP/s of a square matmul, the best of `rounds`."""
  a = jnp.ones((1, size, size), dtype)
  b = jnp.ones((size, size), dtype)
  matmul = jax.jit(lambda a, b: einsum('BTD,DF->BTF', a, b))
  jax.block_until_ready(matmul(a, b))
  seconds = []
  for _ in range(rounds):
    begin = time.perf_counter()
    jax.block_until_ready(matmul(a, b))
    seconds.append(time.perf_counter() - begin)
  return 2 * size**3 / min(seconds)


def describe_frozen(program, executable, batch_size):
  """Returns in words what of `program` trains, and what freezing the rest saves.

  `executable` is the compiled step; its custom calls (cuBLAS, Pallas) do not count.
  """
  config = program.config
  took = costs.measure(executable.as_text()).matmul_flops * program.rules.mesh.size
  whole = 3 * batch_size * flops.forward_flops(config.model, config.data.seq_len)
  return (
    f'{trained_sizes.describe(program)}; matmuls of a step {took / 1e9:,.3f} GFLOP,'
    f' with all of them trained {whole / 1e9:,.3f}'
  )
