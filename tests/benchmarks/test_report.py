"""The arithmetic of a report on seconds that the test makes up, and its figure."""

import dataclasses
import json
import re

from gpt_jax.benchmarks import figure, peft_costs, report, timing
from tests import tiny_runs

DEVICE = dict(
  kind='TPU v5e', platform='tpu', count=1, cores=2, load=0.1, published_tflops=197.0
)
RUN = dict(parameters=10, batch_size=2, seq_len=8, dtype='bfloat16', grad_accum=1)


def nothing(times):
  pass


CASES = [
  timing.Case('matmul', nothing, flops=4e12),
  timing.Case('copy', nothing, bytes=2e9),
  timing.Case('step', nothing, 3.0, 0.5, tokens=100, flops=2e12),
  timing.Case('transformers/step', nothing, tokens=100),
  timing.Case('decode_1', nothing, tokens=7, bytes=1e9),
  timing.Case('attention/dense/64/both', nothing, 1.0, 0.75, flops=1e12),
  timing.Case('attention/dense/128/both', nothing, 1.0, 0.25, flops=1e12),
]
SECONDS = {
  'matmul': [1.0, 0.5, 2.0],
  'copy': [1.0, 2.0, 0.5],
  'step': [1.0, 4.0, 2.0],
  'transformers/step': [2.0, 2.0, 2.0],
  'decode_1': [0.5, 0.5, 0.5],
  'attention/dense/64/both': [1.0, 1.0, 1.0],
  'attention/dense/128/both': [2.0, 2.0, 2.0],
}


def made():
  skipped = [timing.Skipped('loader', 'no data')]
  return report.make_report(
    [*CASES, *skipped], SECONDS, skipped, rounds=3, device=DEVICE, run=RUN,
    first_loss={'gpt_jax': 2.5}, peer={'name': 'transformers', 'dtype': 'float32'},
  )  # fmt: skip


def test_metrics_are_those_of_the_median():
  step = made().cases['step']
  assert (step.median_ms, step.low_ms, step.high_ms) == (2000, 1500, 3000)
  assert step.rounds_ms == (1000, 4000, 2000)
  assert step.tokens_per_second == 50
  assert step.tflops == 1.0
  assert (step.compile_s, step.memory_gib) == (3.0, 0.5)


def test_shares_are_of_the_best_round_of_a_peak():
  found = made()
  assert found.peaks == dict(
    matmul_tflops=8.0, copy_gb_per_second=4.0, published_tflops=197.0
  )
  assert found.cases['step'].mfu == 1 / 8
  assert found.cases['decode_1'].bandwidth_share == 0.5
  assert found.cases['step'].bandwidth_share is None


def test_without_peaks_there_are_no_shares():
  seconds = {'step': [1.0]}
  found = report.make_report(
    CASES, seconds, [], rounds=1, device=DEVICE, run=RUN, first_loss={}
  )
  assert found.cases['step'].mfu is None
  assert found.peaks['matmul_tflops'] is None


def test_ratios_are_paired_for_common_cases():
  assert made().ratios == {'step': dict(median=1.0, low=0.75, high=1.5)}


def test_the_median_is_compared_with_the_bound_of_a_plan():
  found = report.with_plan(made(), 'cpu:1', 500.0)
  assert found.plan == dict(topology='cpu:1', step_ms_bound=500.0, ratio=4.0)
  assert made().plan is None


def made_of_methods():
  costs = peft_costs.Costs(4, 2.0, 3.0, optimizer_bytes=32, checkpoint_bytes=48)
  small = dataclasses.replace(costs, trained=1, state_gib=1.0)
  cases = [
    timing.Case('peft/full', nothing, details=costs),
    timing.Case('peft/ia3', nothing, details=small),
  ]
  seconds = {'peft/full': [1.0, 4.0, 2.0], 'peft/ia3': [2.0, 2.0, 1.0]}
  return report.make_report(
    cases, seconds, [], rounds=3, device=DEVICE, run=RUN, first_loss={}
  )


def test_a_method_is_compared_with_full_fine_tuning():
  found = made_of_methods().peft
  assert found['ia3'] == dict(
    trained=1, state_gib=1.0, temporaries_gib=3.0, optimizer_bytes=32,
    checkpoint_bytes=48, step_ratio=dict(median=0.5, low=0.5, high=1.25),
  )  # fmt: skip
  assert found['full']['step_ratio'] == dict(median=1.0, low=1.0, high=1.0)
  assert made().peft == {}


def test_peak_memory_is_the_allocators_else_the_programs(monkeypatch):
  assert report.peak_memory(CASES) == (0.75, 'memory_analysis')  # CPUs keep no account
  assert report.peak_memory([]) == (None, 'memory_analysis')

  class Device:
    def memory_stats(self):
      return {'peak_bytes_in_use': 3 * 2**30}

  monkeypatch.setattr(report.jax, 'local_devices', lambda: [Device()])
  assert report.peak_memory(CASES) == (3.0, 'memory_stats')


def test_every_key_of_the_report_is_documented():
  found = json.loads(json.dumps(made().to_dict()))
  assert found['skipped'] == {'loader': 'no data'}
  page = (tiny_runs.ROOT / 'docs' / 'bench.md').read_text()
  explained = set(re.findall(r'`([\w.]+)`', page))
  assert set(found) - explained == set()
  assert {f.name for f in dataclasses.fields(report.CaseMetrics)} - explained == set()
  assert set(found['peaks']) - explained == set()
  assert set(made_of_methods().peft['ia3']) - explained == set()


def test_the_device_comes_with_the_load_of_the_host():
  described = report.describe_device('float32')
  assert described.keys() == DEVICE.keys()
  assert described['platform'] == 'cpu'
  assert described['published_tflops'] is None
  assert described['load'] >= 0


def test_the_figure_has_a_panel_for_each_kind_of_result(tmp_path):
  found = made()
  drawn = figure.draw(found)
  titles = [axis.get_title(loc='left') for axis in drawn.axes]
  assert [title.split(',')[0].split(' ')[0] for title in titles] == [
    'share', 'attention', 'time',
  ]  # fmt: skip
  labels = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
  assert labels == ['step\nof matmul peak', 'decode_1\nof copy peak']
  path = figure.save(found, tmp_path / 'made' / 'bench.png')
  assert path.read_bytes()[:4] == b'\x89PNG'


def test_the_figure_has_memory_and_time_of_methods():
  memory, time = figure.draw(made_of_methods()).axes
  assert memory.get_title(loc='left') == 'memory of a training step, GiB'
  assert [text.get_text() for text in memory.get_yticklabels()] == ['full', 'ia3']
  assert [bar.get_width() for bar in memory.patches] == [2.0, 1.0, 3.0, 3.0]
  assert [text.get_text() for text in memory.texts] == ['5', '4']
  assert [text.get_text() for text in time.texts] == ['1.00', '0.50']


def test_a_figure_of_peaks_alone_has_no_panel(tmp_path):
  seconds = {'matmul': [1.0], 'copy': [1.0]}
  found = report.make_report(
    CASES, seconds, [], rounds=1, device=DEVICE, run=RUN, first_loss={}
  )
  assert len(figure.draw(found).axes) == 1


def test_attention_is_drawn_by_length():
  assert figure._attention(made()) == {'dense': [(64, 1.0), (128, 0.5)]}
