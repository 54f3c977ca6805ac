"""Freed memory is used again. Each test has a process of its own, as malloc has."""

import os
import platform
import subprocess
import sys
import types

import pytest

from gpt_jax.commands import host

PROGRAM = """
import resource, sys, threading
from gpt_jax.commands import host

if sys.argv[1] == 'keep':
  print('kept' if host.tune_malloc() else 'not kept')

def faults_of_a_thread():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  # 64 MiB, more than malloc ever holds back by itself.
  thread = threading.Thread(target=lambda: b'x' * 2**26)
  thread.start()
  thread.join()
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of_a_thread()
print(faults_of_a_thread())
"""


def run(mode, **environment):
  """Returns what the program printed, as words."""
  hidden = dict.fromkeys(host.MALLOC_VARIABLES, '')
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, mode],
    env=os.environ | hidden | {'JAX_PLATFORMS': 'cpu'} | environment,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def _only_with_glibc():
  if platform.libc_ver()[0] != 'glibc':
    pytest.skip('malloc is not that of glibc')


def test_freed_blocks_are_reused_without_page_faults():
  (without,) = run('leave')
  printed, kept = run('keep')
  assert printed == 'kept'
  # Each page faults again where the system gives out small ones, each 512th elsewhere.
  assert int(kept) < int(without) / 2


@pytest.mark.parametrize('variable', ['MALLOC_ARENA_MAX', 'MALLOC_TRIM_THRESHOLD_'])
def test_malloc_settings_of_the_environment_are_kept(variable):
  assert run('keep', **{variable: '1000000'})[0] == 'not kept'


def test_malloc_is_not_tuned_where_an_accelerator_computes(monkeypatch):
  for variable in ('JAX_PLATFORMS', *host.MALLOC_VARIABLES):
    monkeypatch.delenv(variable, raising=False)
  monkeypatch.setattr(host, 'accelerator', lambda: ('cuda', 'an NVIDIA GPU'))
  assert not host.tune_malloc()


@pytest.mark.parametrize(
  'here, plugins, platforms',
  [
    (None, [], 'cpu'),
    (None, ['xla_cuda13'], 'cpu'),
    (('cuda', ''), ['xla_cuda13'], 'cuda,cpu'),
    (('cuda', ''), [], None),  # jax says that it lacks its plugin
    (('tpu', ''), [], None),
    (None, ['other'], None),
  ],
)
def test_libtpu_is_left_alone_where_no_tpu_is(here, plugins, platforms, monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS')
  points = [types.SimpleNamespace(name=name) for name in plugins]
  monkeypatch.setattr(host, 'accelerator', lambda: here)
  monkeypatch.setattr(host.importlib.util, 'find_spec', lambda name: name)
  monkeypatch.setattr(host.importlib.metadata, 'entry_points', lambda group: points)
  host.skip_absent_tpu()
  found = os.environ.pop('JAX_PLATFORMS', None)
  monkeypatch.setenv('JAX_PLATFORMS', 'tpu')
  host.skip_absent_tpu()
  assert (found, os.environ['JAX_PLATFORMS']) == (platforms, 'tpu')


@pytest.mark.extra
def test_a_command_prints_nothing_of_libtpu(tmp_path):
  pytest.importorskip('libtpu', reason='needs the extra [plan]')
  kept = {k: v for k, v in os.environ.items() if k != 'JAX_PLATFORMS'}
  # Without it a lock file of another process may end libtpu before it says anything.
  environment = kept | {'ALLOW_MULTIPLE_LIBTPU_LOAD': '1'}
  code = 'from gpt_jax import cli; cli._quiet_libraries(); import jax; jax.devices()'
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, env=environment
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
