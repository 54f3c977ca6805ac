"""The performance targets of TPUs: metrics of plans that the test makes up."""

import json
import math
import subprocess

import pytest

from gpt_jax.benchmarks import targets_tpu
from gpt_jax.parallel import chips

LOSS_LOOP = """\
HloModule m

%body (x: f32[8]) -> f32[8] {
  %x = f32[8] parameter(0)
  %logits = f32[8] negate(%x), metadata={op_name="jit(f)/fused_loss/neg"}
  ROOT %sum = f32[8] all-reduce(%logits), replica_groups={{0,1}}, to_apply=%add
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8] parameter(0)
  ROOT %loop = f32[8] while(%x), condition=%condition, body=%body
}
"""


def test_runs_name_a_config_and_a_known_chip():
  for run in targets_tpu.RUNS.values():
    assert targets_tpu._chip(run) in chips.TPUS.values()
    assert run.flags[0].startswith('--config=gpt')


def test_minimal_flops_are_those_of_the_matrices():
  run = targets_tpu.PlanRun('gpt2:124m', 'v5e:2x2')
  plan = dict(tokens_per_step=4 * 1024, num_devices=4)
  cost = targets_tpu.minimal_cost(run, plan)
  matrices = 12 * 12 * 768**2 + 50304 * 768
  expected = 1024 * (6 * matrices + 6 * 12 * 768 * 1024)
  assert cost['minimal_matmul_flops_per_chip'] == expected
  assert cost['minimal_compute_ms'] == pytest.approx(1e3 * expected / 197e12)


def test_collectives_in_the_loss_loop_are_counted():
  assert targets_tpu.count_in_loss_loop(LOSS_LOOP) == 1
  without = LOSS_LOOP.replace('fused_loss', 'other')
  assert targets_tpu.count_in_loss_loop(without) == math.inf


def test_the_synchronous_share_is_of_gathered_bytes():
  gathers = [
    dict(kind='all-gather', wire_bytes=3.0, asynchronous=True),
    dict(kind='all-gather by sum', wire_bytes=1.0, asynchronous=False),
    dict(kind='all-reduce', wire_bytes=9.0, asynchronous=False),
  ]
  plans = {'a': dict(collectives=gathers), 'b': dict(collectives=[])}
  assert targets_tpu.synchronous_share('a')(plans) == 0.25
  assert targets_tpu.synchronous_share('b')(plans) == 0


def test_a_failed_plan_misses_its_target(monkeypatch, capsys):
  def run(command, **settings):
    return subprocess.CompletedProcess(command, 2, '', 'error: no such chip')

  monkeypatch.setattr(targets_tpu.importlib.util, 'find_spec', lambda name: True)
  monkeypatch.setattr(targets_tpu.subprocess, 'run', run)
  assert targets_tpu.main(['--only', '3', '--json']) == 0
  out = capsys.readouterr().out
  assert 'error: no such chip' in out
  (result,) = json.loads(out.splitlines()[-1])
  assert (result['target'], result['met']) == ('3', False)


def test_without_libtpu_it_says_so(monkeypatch, capsys):
  monkeypatch.setattr(targets_tpu.importlib.util, 'find_spec', lambda name: None)
  assert targets_tpu.main([]) == 0
  assert 'skipped: libtpu is not here' in capsys.readouterr().out
