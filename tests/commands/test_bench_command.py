"""`gpt-jax bench`: tables, one JSON object, errors."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.benchmarks import peaks, timing, torch_gpt2
from tests import tiny_runs

CONFIG = [*tiny_runs.flags({'model.num_layers': 1}), '--rounds=1']


@pytest.fixture(autouse=True)
def small(monkeypatch):
  monkeypatch.setattr(peaks, 'SIZES', {'cpu': (16, 4096)})
  monkeypatch.setattr(timing, 'MIN_SECONDS', 0.0)


def bench(capsys, *flags):
  assert cli.main(['bench', *CONFIG, *flags]) == 0
  return capsys.readouterr().out


@pytest.mark.slow
def test_a_bench_prints_a_table_a_figure_and_json(tmp_path, capsys):
  path = tmp_path / 'bench.png'
  out = bench(capsys, '--what=step,loader', '--json', f'--figure={path}')
  for line in ('medians of 1 rounds', 'of peak', 'loss of the first step', 'figure: '):
    assert line in out
  assert 'step over the bound of `gpt-jax plan --topology=cpu:8`' in out
  found = json.loads(out.splitlines()[-1])
  assert set(found['cases']) == {'matmul', 'copy', 'step', 'loader'}
  assert found['plan']['ratio'] > 0
  assert found['run']['tokens_per_step'] == 8 * 16
  assert found['device']['count'] == 8
  assert path.exists()


def test_without_the_step_case_no_plan_is_compiled(capsys):
  out = bench(capsys, '--what=forward', '--json')
  assert 'gpt-jax plan' not in out
  assert json.loads(out.splitlines()[-1])['plan'] is None


@pytest.mark.slow
def test_a_loader_without_data_is_skipped(capsys):
  out = bench(
    capsys,
    '--what=forward,loader',
    '--config.data.source=text',
    '--config.data.path=/nowhere/*.txt',
  )
  assert 'skipped: loader: ' in out
  assert '/nowhere/*.txt' in out


@pytest.mark.slow
def test_a_busy_machine_is_a_warning(capsys, monkeypatch):
  from gpt_jax.benchmarks import report

  monkeypatch.setattr(report.os, 'getloadavg', lambda: (9.0, 0.0, 0.0))
  assert 'warning: 9.0 other processes' in bench(capsys, '--what=forward')
  monkeypatch.setattr(report.os, 'getloadavg', lambda: (0.0, 0.0, 0.0))
  assert 'warning' not in bench(capsys, '--what=forward')


@pytest.mark.slow
@pytest.mark.extra
def test_the_peer_is_timed_too(capsys):
  reason = "needs the extra 'compare': pip install -e '.[compare]'"
  pytest.importorskip('torch', reason=reason)
  pytest.importorskip('transformers', reason=reason)
  flags = [
    '--config.model.position=learned', '--config.model.norm=layernorm',
    '--config.model.bias=True',
  ]  # fmt: skip
  out = bench(capsys, *flags, '--what=step', '--vs=transformers', '--json')
  assert 'time over that of transformers' in out
  found = json.loads(out.splitlines()[-1])
  assert found['ratios']['step']['median'] > 0
  assert found['peer']['dtype'] == 'float32'
  losses = found['first_loss']
  assert losses['transformers'] == pytest.approx(losses['gpt_jax'], rel=1e-4)


@pytest.mark.slow
def test_ways_of_fine_tuning_are_compared(tmp_path, capsys):
  flags = [
    'bench', '--config=configs/tiny.py', '--rounds=1', '--what=peft', '--json',
    '--methods=full,lora_4,bitfit', f'--figure={tmp_path / "peft.png"}',
    '--config.model.num_layers=1', '--config.data.seq_len=16',
  ]  # fmt: skip
  assert cli.main(flags) == 0
  out = capsys.readouterr().out
  assert 'ways of fine-tuning, medians of 1 rounds' in out
  assert "skipped: peft/bitfit: peft.name='bitfit': trains biases" in out
  found = json.loads(out.splitlines()[-1])
  assert list(found['peft']) == ['full', 'lora_4']
  assert found['peft']['full']['trained'] == found['run']['parameters']
  assert found['peft']['lora_4']['step_ratio']['median'] > 0
  assert set(found['cases']) == {'matmul', 'copy', 'peft/full', 'peft/lora_4'}


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--what=stpe'], 2, "did you mean 'step'?"),
    (['--rounds=0'], 2, '--rounds=0: expected at least 1'),
    (['--vs_dtype=float32'], 2, 'Add --vs=transformers'),
    (['--what=peft', '--methods=full,qlorra'], 2, "did you mean 'qlora'?"),
    (['--what=step', '--methods=full'], 2, 'those of --what=peft; add that'),
    (['--what=decode', '--config.objective.name=masked_lm'], 2, 'writes no text'),
    (['--what=forward', '--figure=/proc/bench.png'], 5, '--figure=/proc/bench.png'),
  ],
)
def test_bad_input_has_its_exit_code(flags, code, expected, capsys):
  assert cli.main(['bench', *CONFIG, *flags]) == code
  assert expected in capsys.readouterr().err


def test_another_model_than_gpt2_is_refused(capsys, monkeypatch):
  monkeypatch.setattr(torch_gpt2, 'require_packages', lambda: None)
  assert cli.main(['bench', *CONFIG, '--vs=transformers']) == 2
  error = capsys.readouterr().err
  assert "model.position='rope': GPT-2 has 'learned'" in error


def test_a_config_is_needed(capsys):
  assert cli.main(['bench']) == 2
  assert '--config is missing' in capsys.readouterr().err
