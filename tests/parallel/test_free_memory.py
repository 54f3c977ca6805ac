"""What is free is the least of machine, container and ulimit; one message says so."""

import resource

import jax
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import free_memory


@pytest.fixture
def host(tmp_path, monkeypatch):
  """Returns a folder in place of /proc and /sys/fs/cgroup: 9000 kB are available."""
  (tmp_path / 'self').mkdir()
  (tmp_path / 'meminfo').write_text('MemTotal: 99000 kB\nMemAvailable: 9000 kB\n')
  monkeypatch.setattr(free_memory, 'PROC', tmp_path)
  monkeypatch.setattr(free_memory, 'CGROUPS', tmp_path / 'cgroup')
  return tmp_path


def write(folder, **files):
  folder.mkdir(parents=True, exist_ok=True)
  for name, text in files.items():
    (folder / name.replace('__', '.')).write_text(str(text))


def test_without_a_container_the_machine_counts(host):
  assert free_memory.host_bytes() == 9000 * 1024


def test_unknown_free_memory_is_none(host):
  (host / 'meminfo').unlink()
  assert free_memory.host_bytes() is None


def test_a_container_leaves_its_limit_without_dropped_files(host):
  write(host / 'self', cgroup='1:cpu:/job\n0::/job/step\n')
  stat = 'anon 1\ninactive_file 10\nactive_file 20\n'
  limits = dict(memory__max=900, memory__current=500, memory__stat=stat)
  write(host / 'cgroup/job', **limits)
  write(host / 'cgroup/job/step', memory__max='max', memory__current=500)
  assert free_memory.host_bytes() == 430


def test_a_container_of_the_first_version_counts_too(host):
  write(host / 'self', cgroup='4:cpu,memory:/job\n')
  limits = dict(memory__limit_in_bytes=900, memory__usage_in_bytes=1000)
  write(host / 'cgroup/memory/job', **limits)
  assert free_memory.host_bytes() == 0  # over its limit


def test_ulimit_leaves_what_is_not_mapped_yet(host, monkeypatch):
  write(host / 'self', statm='100 50 1 1 0 1 0')
  page = resource.getpagesize()
  monkeypatch.setattr(resource, 'getrlimit', lambda _: (150 * page, 0))
  assert free_memory.host_bytes() == 50 * page


def test_an_accelerator_has_its_limit_minus_its_use():
  class Device:
    platform = 'gpu'

    def memory_stats(self):
      return {'bytes_limit': 100, 'bytes_in_use': 30}

  assert free_memory.free_on(Device()) == 70


XLA = jax.errors.JaxRuntimeError
MESSAGES = {
  'RESOURCE_EXHAUSTED: Out of memory allocating 1024 bytes.': 1024,
  'INTERNAL: Error dispatching computation: Out of memory allocating 64 bytes.': 64,
  'RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12.5GiB.': 12.5 * 2**30,
  'RESOURCE_EXHAUSTED: Attempting to allocate 8.00M. That was not possible.': 2**23,
  'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm.': None,
}  # fmt: skip


@pytest.mark.parametrize('text', MESSAGES)
def test_an_allocation_that_fails_is_told_with_both_figures(host, text):
  with pytest.raises(ConfigError) as error:
    with free_memory.explained(lambda: 'the cache', lambda asked: f'Try {asked}.'):
      raise XLA(text)
  asked = MESSAGES[text]
  wanted = 'more memory' if asked is None else free_memory.gib(int(asked))
  assert str(error.value) == (
    f'out of memory: the cache asked for {wanted};'
    f' {free_memory.gib(9000 * 1024)} are free. Try {asked and int(asked)}.'
  )


@pytest.mark.parametrize('error', [XLA('INTERNAL: a bug'), ValueError('out of memory')])
def test_other_errors_pass(error):
  with pytest.raises(type(error), match=str(error)):
    with free_memory.explained(lambda: '', str):
      raise error


def test_bad_alloc_is_a_lack_of_memory():
  assert free_memory.lacks_memory(MemoryError('std::bad_alloc'))
  assert free_memory.lacks_memory(XLA('INTERNAL: std::bad_alloc'))
