"""What XLA is asked to do differently from its defaults, by platform, with reasons."""

_NEVER = 1_000_000  # MiB

OPTIONS = {
  'tpu': {
    # XLA turns gathers of weights into loops of small products and permutes ("windowed
    # einsum") to hide the network. For weights cut along `fsdp` that costs more cycles
    # than it hides: 18 % of a GPT-2 124M step, 19 % of a 175B one, and the gathers are
    # asynchronous anyway (docs/performance.md).
    'xla_jf_spmd_threshold_for_windowed_einsum_mib': str(_NEVER),
  },
}


def options_for(mesh):
  """Returns the compiler options of the devices of `mesh`, as jax.jit takes them."""
  return OPTIONS.get(mesh.devices.flat[0].platform, {})
