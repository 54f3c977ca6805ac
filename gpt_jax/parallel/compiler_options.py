"""XLA options that differ from the defaults, chip by chip, with reasons."""

_NEVER = 1_000_000  # MiB

# XLA turns all-gathers of weights into loops of small matmuls and permutes ("windowed
# einsum") to hide the network. For weights sharded over `fsdp` that costs more cycles
# than it hides: 18 % of a GPT-2 124M step, 19 % of a 175B one, and the all-gathers are
# asynchronous anyway (docs/performance.md). The second keeps all-gathers of small
# shards from becoming all-reduces of zero-padded shards, at twice the bytes and while
# nothing else runs: on 64 chips 5 % of the bound on a step of GPT-3 350M.
_TPU = {
  'xla_jf_spmd_threshold_for_windowed_einsum_mib': str(_NEVER),
  'xla_tpu_prefer_async_allgather_to_allreduce': 'true',
}

# SparseCores gather the next weights while TensorCores multiply; one flag for each
# number of torus axes that an all-gather spans.
_SPARSE_CORES_GATHER = {
  'xla_tpu_enable_sparse_core_collective_offload_all_gather': 'true',
  'xla_tpu_enable_sparse_core_collective_offload_2d_all_gather': 'true',
  'xla_tpu_enable_sparse_core_collective_offload_3d_all_gather': 'true',
  'xla_tpu_enable_sparse_core_collective_offload_reduce_scatter': 'true',
}

# By default a v5e gathers beside matmuls. The first flag lets it gather beside
# element-wise work too, such as the norm that begins an iteration over layers. With it,
# the pass that lets a gather reach into a loop crashes the compiler (6.7B on two slices
# of 256 chips); the second flag leaves that pass out, which costs nothing. Only with
# full remat: it also ties gathers to the writes that save activations, and those become
# slower (2 % of the cycles of GPT-2 124M, 10 % with dense attention). And only of
# floats: the compiler (libtpu 0.0.52) aborts at a gather of 8 or 4 bits in such a
# fusion.
_GATHERS_BESIDE_ELEMENTWISE = {
  'xla_tpu_enable_async_collective_fusion_fuse_kloop_fusions': 'true',
  'xla_tpu_enable_async_collective_fusion_while_loops': 'false',
}

_GATHERS_START_EARLY = {'xla_enable_async_all_gather': 'true'}

# Without it XLA copies moments and parameters before the update, since the guard may
# choose either version: 0.4 of 1.25 GiB of temporaries and a sixth of the time of a
# GPT-2 124M step (docs/performance.md).
_CPU = {'xla_cpu_copy_insertion_use_region_analysis': True}

# Prefix of jax's `device_kind` -> options; the first match counts.
OPTIONS = {
  'cpu': _CPU,
  'TPU v4': _TPU | _GATHERS_START_EARLY,
  'TPU v5 lite': _TPU,  # v5e
  'TPU v5e': _TPU,
  'TPU v5': _TPU | _SPARSE_CORES_GATHER,  # v5p
  'TPU v6': _TPU | _SPARSE_CORES_GATHER,
  'TPU': _TPU,
}

# Options added where `model.remat` is full.
WITH_FULL_REMAT = {
  'TPU v5 lite': _GATHERS_BESIDE_ELEMENTWISE,
  'TPU v5e': _GATHERS_BESIDE_ELEMENTWISE,
}


def options_for(mesh, remat, has_codes=False):
  """Returns jax.jit's `compiler_options` of a step; `remat` is resolved.

  `has_codes`: whether parameters are stored in few bits.
  """
  kind = mesh.devices.flat[0].device_kind
  prefix = next((prefix for prefix in OPTIONS if kind.startswith(prefix)), kind)
  more = WITH_FULL_REMAT.get(prefix, {}) if remat == 'full' and not has_codes else {}
  return OPTIONS.get(prefix, {}) | more


def of_step(mesh, config):
  """Returns `options_for` a step of a Config."""
  has_codes = config.model.quantization != 'none' or config.peft.base_storage != 'as_is'
  return options_for(mesh, config.model.remat, has_codes)
