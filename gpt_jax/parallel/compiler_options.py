"""What XLA is asked to do differently from its defaults, chip by chip, with reasons."""

_NEVER = 1_000_000  # MiB

# XLA turns gathers of weights into loops of small products and permutes ("windowed
# einsum") to hide the network. For weights cut along `fsdp` that costs more cycles than
# it hides: 18 % of a GPT-2 124M step, 19 % of a 175B one, and the gathers are
# asynchronous anyway (docs/performance.md). The second keeps gathers of small shards
# from becoming sums of shards in arrays of zeros, at twice the bytes and while nothing
# else runs: on 64 chips 5 % of the bound on a step of GPT-3 350M.
_TPU = {
  'xla_jf_spmd_threshold_for_windowed_einsum_mib': str(_NEVER),
  'xla_tpu_prefer_async_allgather_to_allreduce': 'true',
}

# The cores of the chip that are made for sparse work fetch the next weights while the
# others multiply; one flag for each number of axes of the torus that a gather spans.
_SPARSE_CORES_GATHER = {
  'xla_tpu_enable_sparse_core_collective_offload_all_gather': 'true',
  'xla_tpu_enable_sparse_core_collective_offload_2d_all_gather': 'true',
  'xla_tpu_enable_sparse_core_collective_offload_3d_all_gather': 'true',
  'xla_tpu_enable_sparse_core_collective_offload_reduce_scatter': 'true',
}

# A v5e gathers while it multiplies, without being asked for. The first flag lets it
# gather beside element-wise work too, such as the norm before the first product of a
# turn of the loop over layers, which no other product stands before. With it, the pass
# that lets a gather reach into a loop crashes the compiler (6.7B on two slices of 256
# chips); the second leaves that pass out, which costs nothing. Only where layers are
# recomputed whole: it also ties gathers to the writes that keep activations, and those
# become slower (2 % of the cycles of GPT-2 124M, 10 % with dense attention).
_GATHERS_BESIDE_SUMS = {
  'xla_tpu_enable_async_collective_fusion_fuse_kloop_fusions': 'true',
  'xla_tpu_enable_async_collective_fusion_while_loops': 'false',
}

_GATHERS_START_EARLY = {'xla_enable_async_all_gather': 'true'}

# Without it XLA keeps moments and parameters from before the update beside those after,
# since the guard may choose either, and copies them: 0.4 of 1.25 GiB of temporaries and
# a sixth of the time of a GPT-2 124M step (docs/performance.md).
_CPU = {'xla_cpu_copy_insertion_use_region_analysis': True}

OPTIONS = {
  'cpu': _CPU,
  'TPU v4': _TPU | _GATHERS_START_EARLY,
  'TPU v5 lite': _TPU,  # v5e
  'TPU v5e': _TPU,
  'TPU v5': _TPU | _SPARSE_CORES_GATHER,  # v5p
  'TPU v6': _TPU | _SPARSE_CORES_GATHER,
  'TPU': _TPU,
}
"""How jax's `device_kind` begins -> options; the first that fits counts."""

WITH_FULL_REMAT = {
  'TPU v5 lite': _GATHERS_BESIDE_SUMS,
  'TPU v5e': _GATHERS_BESIDE_SUMS,
}
"""Those that are added where `model.remat` is full."""


def options_for(mesh, remat):
  """Returns the compiler options of a step on `mesh`, as jax.jit takes them.

  Args:
    remat: `model.remat`, resolved.
  """
  kind = mesh.devices.flat[0].device_kind
  begin = next((begin for begin in OPTIONS if kind.startswith(begin)), kind)
  more = WITH_FULL_REMAT.get(begin, {}) if remat == 'full' else {}
  return OPTIONS.get(begin, {}) | more
