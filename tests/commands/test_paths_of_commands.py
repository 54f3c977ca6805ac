"""Whatever takes a path refuses a URL that it cannot use, and makes no folder of it."""

import os

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import ConfigError
from gpt_jax.storage import scratch
from tests import tiny_runs

UNKNOWN = {'hdfs://host/runs/x': 'hdfs://', 'gss://bucket/x': 'mean gs://bucket/x'}
STUDY = f'{tiny_runs.ROOT}/experiments/entropy_floor.py'
CONFIG = f'--config={tiny_runs.ROOT}/configs/base.py'
PREPARE = ['prepare', CONFIG, '--config.data.source=text']
FIELDS = ('init_from', 'data.path', 'data.data_dir', 'tokenizer.path')
COMMANDS = {
  'train': ['train', CONFIG, '--workdir=URL'],
  'eval': ['eval', '--workdir=URL'],
  'generate': ['generate', '--prompt=x', '--workdir=URL'],
  'checkpoint': ['checkpoint', 'ls', '--workdir=URL'],
  'doctor': ['doctor', '--workdir=URL'],
  'replay': ['replay', '--step=1', '--workdir=URL'],
  'repro': ['repro', '--workdir=URL'],
  'diff': ['diff', 'URL', 'URL'],
  'launch': ['launch', '--processes=1', '--', 'train', CONFIG, '--workdir=URL'],
  'sweep': ['sweep', STUDY, '--workdir=URL'],
  'status': ['status', STUDY, '--workdir=URL'],
  'report': ['report', STUDY, '--workdir=URL'],
  'report --out': ['report', STUDY, '--workdir=w', '--out=URL'],
  'prepare --out': [*PREPARE, '--config.data.path=x', '--out=URL'],
  'prepare from': [*PREPARE, '--config.data.path=URL', '--out=here'],
} | {
  field: ['train', CONFIG, f'--config.{field}=URL', '--workdir=run'] for field in FIELDS
}  # fmt: skip
LOCAL = {
  '--log_dir': ['launch', '--log_dir=URL', '--', 'train', CONFIG, '--workdir=run'],
  '--dump_hlo': ['plan', CONFIG, '--topology=cpu:1', '--dump_hlo=URL'],
  '--figure': ['plan', CONFIG, '--topology=cpu:1', '--figure=URL'],
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
  """Makes an empty folder the current one, which has to stay empty."""
  monkeypatch.chdir(tmp_path)
  yield
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('url', UNKNOWN)
@pytest.mark.parametrize('case', COMMANDS)
def test_an_unknown_scheme_is_refused_by_name(case, url, capsys):
  assert cli.main([word.replace('URL', url) for word in COMMANDS[case]]) == 2
  said = capsys.readouterr().err
  assert url in said and UNKNOWN[url] in said


@pytest.mark.parametrize('url', [*UNKNOWN, 'gs://bucket/x'])
@pytest.mark.parametrize('case', LOCAL)
def test_what_has_to_lie_here_is_no_url(case, url, capsys):
  assert cli.main([word.replace('URL', url) for word in LOCAL[case]]) == 2
  assert f'{case}: {url}: expected a path on this machine' in capsys.readouterr().err


@pytest.mark.parametrize('url', [*UNKNOWN, 'gs://bucket/x'])
def test_scratch_in_a_bucket_is_refused_by_name(url, monkeypatch):
  monkeypatch.setenv('GPT_JAX_SCRATCH', url)
  with pytest.raises(ConfigError, match=f'GPT_JAX_SCRATCH={url}: expected a folder'):
    scratch.folder('tokens')
