"""Each process digests the files that it wrote, before the step is complete."""

import shutil

import fault_flips

from gpt_jax import checkpoint_digests, checkpoint_handler


def test_a_step_is_saved_by_the_handler_that_digests(tmp_path):
  template = fault_flips.make_steps(tmp_path)
  text = (template / '1' / '_CHECKPOINT_METADATA').read_text()
  assert text.count(checkpoint_handler.DigestingHandler.__name__) == 2
  assert not list(template.rglob(checkpoint_digests.PART.format('*')))  # collected


def test_what_processes_digested_is_collected_and_not_read_again(tmp_path):
  """Two processes wrote an item: the second one's files come from its own list."""
  step = fault_flips.make_steps(tmp_path) / '3'
  whole = checkpoint_digests.read(step)
  shutil.copytree(
    step / 'params' / 'ocdbt.process_0', step / 'params' / 'ocdbt.process_1'
  )
  (step / checkpoint_digests.FILE).unlink()
  for process in (0, 1):
    checkpoint_digests.write_part(step / 'params', process)
  secret = next((step / 'params' / 'ocdbt.process_1' / 'd').iterdir())
  secret.write_bytes(b'changed after it was digested')
  checkpoint_digests.seal(step)
  assert not list(step.rglob(checkpoint_digests.PART.format('*')))
  listed = checkpoint_digests.read(step)
  for name, entry in whole.items():
    if not name.startswith('params/'):
      continue  # its process wrote no list here
    twin = name.replace('process_0', 'process_1')
    assert entry == listed[name]
    if name.startswith('params/ocdbt.process_0'):
      assert entry == listed[twin]
  damaged = {damage.file for damage in checkpoint_digests.verify(step)}
  assert damaged == {secret.relative_to(step).as_posix()}


def test_a_failing_digest_fails_the_save(tmp_path):
  class Written:
    def result(self, timeout=None):
      raise OSError('disk full')

  digested = checkpoint_handler._Digested([Written()], tmp_path, lambda: None)
  try:
    digested.result()
  except OSError as error:
    assert str(error) == 'disk full'
  assert list(tmp_path.iterdir()) == []
