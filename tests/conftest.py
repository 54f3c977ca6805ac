"""Eight virtual CPU devices, a compilation cache, and what a skip has to say."""

import contextlib
import fcntl
import gc
import importlib.metadata
import os
import pathlib
import re
import sys

os.environ['JAX_PLATFORMS'] = os.environ.get('GPT_JAX_TEST_PLATFORM', 'cpu')
FLAGS = (
  os.environ.get('XLA_FLAGS', '')
  + ' --xla_force_host_platform_device_count=8'
  # Tests compile more than they compute: this halves the time of a compilation,
  + ' --xla_backend_optimization_level=0'
)
# and these take a third and a seventh of the rest; a program in one object has half the
# memory maps. XLA ends a process for a flag it does not know: only versions tried.
QUICKER, VERSION = '', importlib.metadata.version('jaxlib')
if VERSION.startswith(('0.10.', '0.12.')):
  QUICKER += ' --xla_cpu_parallel_codegen_split_count=1'
if VERSION.startswith('0.10.'):
  QUICKER += ' --xla_cpu_use_fusion_emitters=false'
os.environ['XLA_FLAGS'] = FLAGS + QUICKER
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('MPLBACKEND', 'agg')

ROOT = pathlib.Path(__file__).parents[1]
# Processes that tests start share the cache, too. It keeps what compiles in no time as
# well: a test compiles dozens of such programs, and many are those of other tests.
os.environ['JAX_COMPILATION_CACHE_DIR'] = str(ROOT / '.cache' / 'xla')
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

import jax  # noqa: E402  (the environment above has to come first)
import pytest  # noqa: E402

from gpt_jax.core import malloc, process_memory  # noqa: E402

jax.devices()  # reads the flags
os.environ['XLA_FLAGS'] = FLAGS  # libtpu, loaded later, knows fewer
# Tracing makes objects by the million and hardly a cycle of them: to look for cycles at
# every 700 of them takes a tenth of the time of all tests.
gc.set_threshold(100_000, 10, 10)

MAPS = pathlib.Path('/proc/self/maps')
# Linux gives a process 65,530; where LLVM gets none for a new program, XLA aborts.
MAX_MAPS = 45_000
# Two workers share the memory of a small machine.
MAX_BYTES = 5 << 30


@pytest.fixture(autouse=True, scope='module')
def _release_programs():
  """Drops compiled programs between modules, once the process holds very many."""
  yield
  num_maps = MAPS.read_bytes().count(b'\n') if MAPS.exists() else 0
  if num_maps > MAX_MAPS or (process_memory.resident_bytes() or 0) > MAX_BYTES:
    jax.clear_caches()
    gc.collect()
    malloc.give_back()


@pytest.fixture(scope='session')
def shared_data():
  """Returns the folder of real data sets, or skips and says how to give one."""
  candidates = [
    os.environ.get('GPT_JAX_DATA', ''),
    str(ROOT.parent / 'shared' / 'data'),
  ]
  for candidate in candidates:
    if candidate and os.path.isdir(candidate):
      return pathlib.Path(candidate)
  pytest.skip('needs the real data sets: set GPT_JAX_DATA to their folder')


@pytest.fixture(scope='session')
def shared_tfds():
  """Returns the folder of prepared TFDS sets, or skips and says how to give one."""
  candidates = [
    os.environ.get('TFDS_DATA_DIR', ''),
    str(ROOT.parent / 'shared' / 'tfds'),
  ]
  for candidate in candidates:
    if candidate and os.path.isdir(candidate):
      return pathlib.Path(candidate)
  pytest.skip('needs prepared TFDS sets: set TFDS_DATA_DIR to their folder')


@pytest.fixture(scope='session')
def made_once(tmp_path_factory):
  """Returns `(name) -> context of (folder, whether it is to be filled)`.

  The first process of a session that asks for a name fills its folder; others wait.
  """
  shared = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    shared = shared.parent

  @contextlib.contextmanager
  def made_once(name):
    folder, done = shared / name, shared / f'{name}.done'
    with open(shared / f'{name}.lock', 'w') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      folder.mkdir(exist_ok=True)
      yield folder, not done.exists()
      done.touch()

  return made_once


@pytest.fixture(scope='session')
def text_file(made_once):
  """Returns a text of 40,000 characters from a vocabulary of 50 words."""
  from tests import tiny_runs

  with made_once('text') as (folder, is_new):
    if is_new:
      (folder / 'words.txt').write_text(tiny_runs.words(40_000))
  return folder / 'words.txt'


@pytest.fixture(scope='session')
def my_ideas(tmp_path_factory):
  """Returns the folder into which the recipes of docs/extending.md were written.

  They are plug-ins outside of the repository, importable from now on.
  """
  from tests.test_docs import blocks

  folder = tmp_path_factory.mktemp('outside')
  for block in blocks(ROOT / 'docs' / 'extending.md', 'python'):
    name = re.match(r'# (my_ideas/\w+\.py)\n', block)
    assert name, f'its first line says which file it is: {block[:60]!r}'
    path = folder / name.group(1)
    path.parent.mkdir(exist_ok=True)
    path.write_text(block)
  sys.path.insert(0, str(folder))
  yield folder
  sys.path.remove(str(folder))


@pytest.fixture(scope='session')
def finished_run(made_once, text_file):
  """Returns the workdir of a run of six steps on bytes, with everything switched on.

  Shared by all tests of a session: read it, copy it, do not write in it.
  """
  from gpt_jax import cli
  from tests import tiny_runs

  with made_once('finished') as (folder, is_new):
    if is_new:
      flags = tiny_runs.flags(tiny_runs.everything_on(text_file))
      assert cli.main(['train', *flags, f'--workdir={folder / "run"}']) == 0
  return folder / 'run'


@pytest.fixture(scope='session')
def plain_run(made_once):
  """Returns the workdir of a run of `tiny_config()`, as shared as `finished_run`."""
  from gpt_jax.train import loop
  from tests import tiny_runs

  with made_once('plain') as (folder, is_new):
    if is_new:
      config, shared = tiny_runs.tiny_config(), tiny_runs.open_shared
      loop.train(config, folder / 'run', quiet=True, open_program=shared)
  return folder / 'run'


@pytest.fixture(scope='session')
def task_runs(made_once):
  """Returns a folder of fine-tuned runs `a`, `b` (another seed) and `c` (another
  tokenizer) on the same examples, as shared as `finished_run`."""
  from tests import task_runs

  with made_once('task_runs') as (folder, is_new):
    if is_new:
      task_runs.train(folder, 'a')
      task_runs.train(folder, 'b', {'seed': 1, 'data.seed': 1})
      task_runs.train(
        folder, 'c', {'tokenizer.name': 'bpe', 'tokenizer.vocab_size': 300}
      )
  return folder
