"""Freed memory is used again. Each test has a process of its own, as malloc has."""

import os
import subprocess
import sys

import pytest

from gpt_jax import host_memory

PROGRAM = """
import platform, resource, sys, threading
import numpy as np
from gpt_jax import host_memory
if sys.argv[1] == 'keep' and not host_memory.keep_freed():
  sys.exit('not kept')

def use():
  np.ones(2**26, np.uint8)  # 64 MiB, more than malloc ever holds back by itself

def faults_of_a_thread():
  thread = threading.Thread(target=use)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  thread.start()
  thread.join()
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

use()
faults_of_a_thread()
print(faults_of_a_thread())
"""


def run(mode, **environment):
  hidden = dict.fromkeys(host_memory._VARIABLES, '')
  return subprocess.run(
    [sys.executable, '-c', PROGRAM, mode],
    env=os.environ | hidden | {'JAX_PLATFORMS': 'cpu'} | environment,
    capture_output=True,
    text=True,
  )


@pytest.fixture(autouse=True)
def _only_with_glibc():
  if host_memory.platform.libc_ver()[0] != 'glibc':
    pytest.skip('malloc is not that of glibc')


def test_a_large_block_is_written_again_without_a_page_fault_for_each_page():
  pages = 2**26 // os.sysconf('SC_PAGE_SIZE')
  assert int(run('keep').stdout) < pages / 100


def test_without_it_each_page_faults_again():
  # Else the test before would show nothing. Huge pages would make it fewer.
  assert int(run('leave').stdout) > 10


def test_what_the_environment_says_of_malloc_is_left_alone():
  assert run('keep', MALLOC_ARENA_MAX='2').stderr == 'not kept\n'


def test_memory_is_given_back_where_an_accelerator_does_the_work(monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS')
  monkeypatch.setattr(host_memory, 'accelerator', lambda: ('cuda', 'an NVIDIA GPU'))
  assert not host_memory.keep_freed()
