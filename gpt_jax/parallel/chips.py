"""Chips that a run may use: peak FLOP/s, memory and network, one row each.

`train` divides its MFU by these peaks, `plan` its bounds, `bench` its shares.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
  """One jax device of a kind; FLOP/s and bytes/s are published peaks."""

  name: str
  device_kinds: tuple[str, ...]  # what `jax.Device.device_kind` contains
  peak_flops: float  # dense, of 16-bit inputs, without sparsity
  float32_flops: float
  """At jax's default precision: one bfloat16 pass on TPUs, TF32 on GPUs."""
  hbm_bandwidth: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TPU(Chip):
  """What a plan needs besides. A TPU7x chip is two devices: its row has half of it."""

  dims: int  # axes of the torus: how many sizes a slice has
  hbm_gib: float
  hbm_bandwidth: float
  clock_hz: float
  links: int
  link_bandwidth: float  # of one link to a neighbour, in one direction
  dcn_bandwidth: float
  """Of the network between slices, one direction, shared out over the devices."""
  devices_per_chip: int = 1
  cores: int = 1  # each with a vector unit of 8 x 128 lanes
  matrix_lanes: int = 128
  """Rows and columns of a matrix unit: narrower matmuls leave lanes idle."""


# Peaks, HBM and interconnect: cloud.google.com/tpu/docs, one page per version; its
# interconnect number counts both directions of all links of a chip. Clocks are assumed:
# the peak divided by what the matrix units do in a cycle (v4, v5p: 8 of 128x128; v5e:
# 4 of 128x128; v6e: the work of 4 of 256x256; TPU7x: the same in each half); v4's and
# v5e's agree with the published 1.05 and 1.5 GHz.
TPUS = {
  'v4': TPU(
    'TPU v4', ('TPU v4',), 275e12, 275e12, dims=3, hbm_gib=32, hbm_bandwidth=1.228e12,
    clock_hz=1.05e9, links=6, link_bandwidth=50e9,
    dcn_bandwidth=6.25e9,  # assumed, as v5p
    cores=2,
  ),
  'v5e': TPU(
    'TPU v5e', ('TPU v5 lite', 'TPU v5e'), 197e12, 197e12, dims=2, hbm_gib=16,
    hbm_bandwidth=0.819e12, clock_hz=1.5e9, links=4, link_bandwidth=50e9,
    dcn_bandwidth=3.125e9,  # 6.4 Tbit/s for a pod of 256
  ),
  'v5p': TPU(  # calls itself 'TPU v5' or 'TPU v5p'
    'TPU v5p', ('TPU v5',), 459e12, 459e12, dims=3, hbm_gib=95, hbm_bandwidth=2.765e12,
    clock_hz=1.75e9, links=6, link_bandwidth=100e9,
    dcn_bandwidth=6.25e9,  # 50 Gbit/s
    cores=2,
  ),
  'v6e': TPU(
    'TPU v6e', ('TPU v6',), 918e12, 918e12, dims=2, hbm_gib=32, hbm_bandwidth=1.64e12,
    clock_hz=1.75e9, links=4, link_bandwidth=100e9,
    dcn_bandwidth=12.5e9,  # 25.6 Tbit/s for a pod of 256
    matrix_lanes=256,
  ),
  'tpu7x': TPU(
    'TPU7x', ('TPU7x',), 1153.5e12, 1153.5e12, dims=3, hbm_gib=96,
    hbm_bandwidth=3.69e12, clock_hz=2.2e9,
    links=6, link_bandwidth=50e9,  # assumed: two devices share the links of a chip
    dcn_bandwidth=6.25e9,  # assumed
    devices_per_chip=2,
    matrix_lanes=256,
  ),
}  # fmt: skip
"""Names as libtpu spells them. A chip absent here cannot be planned for."""

# From memory of NVIDIA's data sheets: check a row before quoting an MFU.
GPUS = {
  'h200': Chip('H200', ('H200',), 989e12, 494e12, 4.8e12),
  'h100-pcie': Chip('H100 PCIe', ('H100 PCIe',), 756e12, 378e12, None),
  'h100-nvl': Chip('H100 NVL', ('H100 NVL',), 835e12, 417e12, None),
  'h100': Chip('H100', ('H100',), 989e12, 494e12, None),
  'a100': Chip('A100', ('A100',), 312e12, 156e12, None),
  'l40s': Chip('L40S', ('L40S',), 362e12, 183e12, None),
  'l4': Chip('L4', ('L4',), 121e12, 60e12, None),
}


def of_kind(device_kind):
  """Returns the Chip of a `jax.Device.device_kind`, or None; the first match wins."""
  for chip in (*TPUS.values(), *GPUS.values()):
    if any(kind in device_kind for kind in chip.device_kinds):
      return chip
  return None


def peak_flops(device_kind, dtype):
  """Returns the published peak FLOP/s of one device, or None for unknown kinds (CPU).

  Args:
    dtype: of the matmul's inputs, 'bfloat16', 'float16' or 'float32'.
  """
  chip = of_kind(device_kind)
  if chip is None:
    return None
  return chip.float32_flops if dtype == 'float32' else chip.peak_flops
