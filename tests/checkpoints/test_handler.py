"""Each process digests the files that it wrote, before the step is complete."""

import shutil

from gpt_jax.checkpoints import digests, handler, manifest
from tests.faults import flips


def test_a_step_is_saved_by_the_handler_that_digests(tmp_path):
  template = flips.make_steps(tmp_path)
  text = (template / '1' / '_CHECKPOINT_METADATA').read_text()
  assert text.count(handler.DigestingHandler.__name__) == 2
  assert not list(template.rglob(digests.PART.format('*')))  # collected


def test_what_processes_digested_is_collected_and_not_read_again(tmp_path):
  """Two processes wrote an item: the second one's files come from its own list."""
  step = flips.make_steps(tmp_path) / '3'
  whole = manifest.read(step)
  shutil.copytree(
    step / 'params' / 'ocdbt.process_0', step / 'params' / 'ocdbt.process_1'
  )
  (step / manifest.FILE).unlink()
  for process in (0, 1):
    digests.write_part(step / 'params', process)
  secret = next((step / 'params' / 'ocdbt.process_1' / 'd').iterdir())
  secret.write_bytes(b'changed after it was digested')
  digests.write_manifest(step)
  assert not list(step.rglob(digests.PART.format('*')))
  listed = manifest.read(step)
  for name, entry in whole.items():
    if not name.startswith('params/'):
      continue  # its process wrote no list here
    twin = name.replace('process_0', 'process_1')
    assert entry == listed[name]
    if name.startswith('params/ocdbt.process_0'):
      assert entry == listed[twin]
  damaged = {damage.file for damage in digests.verify(step)}
  assert damaged == {secret.relative_to(step).as_posix()}


def test_a_failing_digest_fails_the_save(tmp_path):
  class Written:
    def result(self, timeout=None):
      raise OSError('disk full')

  digested = handler._Digested([Written()], tmp_path, lambda: None)
  try:
    digested.result()
  except OSError as error:
    assert str(error) == 'disk full'
  assert list(tmp_path.iterdir()) == []
