"""Exported adapters: names, refusals; `test_parity.py` has peft read them."""

import json
import shutil

import pytest
import safetensors.numpy

from gpt_jax import cli
from gpt_jax.core.errors import StorageError
from gpt_jax.interop.export_model import choose_family
from gpt_jax.peft_formats.export_adapter import export_adapter
from gpt_jax.workdir.paths import Workdir
from tests.peft_formats import runs


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('export')
  runs.gpt2(folder / 'base')
  runs.write(folder / 'run', folder / 'base', rank=2)
  return folder


def test_the_command_writes_both_files(folder, tmp_path):
  command = ['export', f'--workdir={folder / "run"}', f'--out={tmp_path / "out"}']
  assert cli.main([*command, '--format=peft']) == 0
  fields = json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())
  assert fields['peft_type'] == 'LORA' and fields['task_type'] == 'CAUSAL_LM'
  assert fields['target_modules'] == ['c_attn'] and fields['r'] == 4
  assert fields['lora_alpha'] == 32  # of two ranks of 2, as 16 of one
  assert fields['base_model_name_or_path'] == str(folder / 'base')
  found = safetensors.numpy.load_file(tmp_path / 'out' / 'adapter_model.safetensors')
  name = 'base_model.model.transformer.h.1.attn.c_attn'
  assert found[f'{name}.lora_A.weight'].shape == (4, 8)
  b = found[f'{name}.lora_B.weight']
  assert not b[:8, 2:].any() and not b[8:16].any() and not b[16:, :2].any()


def test_an_adapter_beside_rounded_kernels_says_so(folder, tmp_path, capsys):
  run = tmp_path / 'run'
  shutil.copytree(folder / 'run', run)
  saved = Workdir(run).read_config()
  saved['peft']['base_storage'] = 'nf4'
  Workdir(run).write_config(saved)
  line = ['export', f'--workdir={run}', f'--out={tmp_path / "out"}', '--format=peft']
  assert cli.main(line) == 0
  assert "base_storage='nf4': the adapter was trained" in capsys.readouterr().out


def test_other_types_and_plain_runs_are_refused(folder, tmp_path, capsys):
  command = ['export', f'--out={tmp_path / "out"}', '--format=peft']
  assert cli.main([*command, f'--workdir={folder / "run"}', '--dtype=bfloat16']) == 2
  assert 'adapters are written in float32' in capsys.readouterr().err
  plain = tmp_path / 'plain'
  assert cli.main(['import', str(folder / 'base'), f'--workdir={plain}']) == 0
  assert cli.main([*command, f'--workdir={plain}']) == 2
  assert 'has no adapter' in capsys.readouterr().err
  assert not (tmp_path / 'out').exists()


def test_folders_with_files_are_refused(folder):
  run = runs.open_run(folder / 'run')
  with pytest.raises(StorageError, match='is there already'):
    export_adapter(run, choose_family(run.config, 'gpt2'), folder)
