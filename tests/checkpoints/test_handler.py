"""What Orbax writes is digested by its process; shapes are read without arrays."""

import shutil

import pytest

from gpt_jax.checkpoints import digests, handler, manifest
from tests.faults import flips


def test_steps_are_saved_by_the_digesting_handler(tmp_path):
  template = flips.make_steps(tmp_path)
  text = (template / '1' / '_CHECKPOINT_METADATA').read_text()
  assert text.count(handler.DigestingHandler.__name__) == 2
  assert not list(template.rglob(digests.PART.format('*')))  # collected


def test_digests_of_processes_are_collected_not_made_again(tmp_path):
  """Two processes wrote an item: the second one's files come from its own list."""
  step = flips.make_steps(tmp_path) / '3'
  complete = manifest.read(step)
  shutil.copytree(
    step / 'params' / 'ocdbt.process_0', step / 'params' / 'ocdbt.process_1'
  )
  (step / manifest.FILE).unlink()
  for process in (0, 1):
    digests.write_part(step / 'params', process)
  late_change = next((step / 'params' / 'ocdbt.process_1' / 'd').iterdir())
  late_change.write_bytes(late_change.read_bytes()[::-1])  # after it was digested
  digests.write_manifest(step)
  assert not list(step.rglob(digests.PART.format('*')))
  listed = manifest.read(step)
  for name, entry in complete.items():
    if not name.startswith('params/'):
      continue  # its process wrote no list here
    twin = name.replace('process_0', 'process_1')
    assert entry == listed[name]
    if name.startswith('params/ocdbt.process_0'):
      assert entry == listed[twin]
  damaged = {damage.file for damage in digests.verify(step)}
  assert damaged == {late_change.relative_to(step).as_posix()}


def test_a_failing_digest_fails_the_save(tmp_path):
  class Written:
    def result(self, timeout=None):
      raise OSError('disk full')

  with pytest.raises(OSError, match='disk full'):
    handler._Digested([Written()], tmp_path, lambda: None).result()
  assert list(tmp_path.iterdir()) == []


def test_shapes_and_the_record_are_read_without_arrays(tmp_path):
  folder = flips.make_steps(tmp_path / 'run') / '3'
  found = handler.read_tree(folder / 'params')
  assert found['embed'].shape == (64, 32)
  assert found['block']['kernel'].dtype == 'bfloat16'
  record = dict(meta={'next_sample': 3}, metrics={}, digests='sha256')
  assert handler.read_record(folder / 'meta') == record
