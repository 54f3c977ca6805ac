"""The table of chips: found by device kind, plausible row by row."""

import pytest

from gpt_jax.parallel import chips

ALL = chips.TPUS | chips.GPUS


@pytest.mark.parametrize(
  'kind,dtype,teraflops',
  [
    ('TPU v4', 'bfloat16', 275),
    ('TPU v5 lite', 'bfloat16', 197),
    ('TPU v5p', 'bfloat16', 459),
    ('TPU v5', 'float32', 459),
    ('TPU v6 lite', 'bfloat16', 918),
    ('TPU7x', 'bfloat16', 1153.5),
    ('NVIDIA H100 80GB HBM3', 'bfloat16', 989),
    ('NVIDIA H100 PCIe', 'bfloat16', 756),
    ('NVIDIA H200', 'bfloat16', 989),
    ('NVIDIA A100-SXM4-80GB', 'float16', 312),
    ('NVIDIA A100-SXM4-80GB', 'float32', 156),
    ('NVIDIA L40S', 'bfloat16', 362),
    ('NVIDIA L4', 'bfloat16', 121),
  ],
)
def test_peaks_are_found_by_device_kind(kind, dtype, teraflops):
  assert chips.peak_flops(kind, dtype) == teraflops * 1e12


def test_an_unknown_device_kind_has_no_peak():
  assert chips.peak_flops('cpu', 'float32') is None
  assert chips.peak_flops('NVIDIA GeForce RTX 4090', 'bfloat16') is None


@pytest.mark.parametrize('chip', chips.TPUS.values(), ids=chips.TPUS)
def test_the_numbers_of_a_tpu_are_plausible_together(chip):
  assert 1e9 < chip.clock_hz < 3e9
  assert chip.dims * 2 == chip.links
  assert chip.dcn_bandwidth < chip.link_bandwidth < chip.hbm_bandwidth < 1e13


@pytest.mark.parametrize('chip', ALL.values(), ids=ALL)
def test_every_chip_is_found_by_its_own_device_kinds(chip):
  assert all(chips.of_kind(kind) is chip for kind in chip.device_kinds)
