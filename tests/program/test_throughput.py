"""StepTime and MFU: arithmetic on times that the test makes up."""

import jax
import pytest

from gpt_jax.parallel import chips
from gpt_jax.program import throughput


def test_the_pace_is_that_since_the_last_report():
  meter = throughput.Meter(flops_per_token=10, peak=1000)
  meter.start(0, now=100.0)
  first = meter.measure(50, now=105.0)
  assert (first.tokens_per_second, first.mfu) == (10, pytest.approx(0.1))
  second = meter.measure(150, now=106.0)
  assert (second.tokens_per_second, second.mfu) == (100, pytest.approx(1.0))


def test_what_is_no_training_can_be_left_out():
  meter = throughput.Meter(flops_per_token=1, peak=None)
  meter.start(0, now=0.0)
  meter.start(0, now=60.0)  # an evaluation lay between
  assert meter.measure(20, now=62.0).tokens_per_second == 10


def test_without_a_peak_there_is_no_mfu():
  meter = throughput.Meter(flops_per_token=1, peak=None)
  meter.start(0, now=0.0)
  assert meter.measure(1, now=1.0).mfu is None


def test_a_clock_that_stands_still_divides_by_nothing():
  meter = throughput.Meter(flops_per_token=1, peak=1)
  meter.start(0, now=1.0)
  assert meter.measure(10, now=1.0).tokens_per_second > 0


def test_a_cpu_is_measured_once_for_all_its_virtual_devices(monkeypatch):
  monkeypatch.setattr(throughput, 'measured_matmul_flops', lambda dtype: 5e9)
  assert len(jax.devices()) == 8
  assert throughput.total_peak_flops('float32') == 5e9


def test_published_peaks_count_for_each_device(monkeypatch):
  monkeypatch.setattr(chips, 'peak_flops', lambda kind, dtype: 1e12)
  assert throughput.total_peak_flops('bfloat16') == 8e12


def test_a_measured_matmul_has_a_positive_rate():
  assert throughput.measured_matmul_flops('float32', size=64, rounds=1) > 1e6
