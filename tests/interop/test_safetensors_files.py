"""Headers are believed only as far as the file bears them out."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop.safetensors_files import SafetensorsFiles, read_header
from tests.interop import small_folders

TENSORS = {
  'a': np.arange(6, dtype=np.float32).reshape(2, 3),
  'b': np.arange(4, dtype=np.float16),
  'c': np.arange(5).astype(ml_dtypes.bfloat16),
}


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'model.safetensors'
  safetensors.numpy.save_file(TENSORS, path)
  return path


def rewrite(path, change):
  """Replaces the header of a file by `change(header)`; the data stay."""
  content = path.read_bytes()
  (length,) = struct.unpack('<Q', content[:8])
  header = json.loads(content[8 : 8 + length])
  text = change(header)
  text = text if isinstance(text, bytes) else json.dumps(text or header).encode()
  path.write_bytes(struct.pack('<Q', len(text)) + text + content[8 + length :])


def test_tensors_are_those_that_the_library_wrote(file):
  with SafetensorsFiles(file.parent) as found:
    assert found.specs.keys() == TENSORS.keys()
    for name, wanted in TENSORS.items():
      assert found.specs[name].shape == wanted.shape
      assert found.dtype_of(name) == wanted.dtype
      whole = found.read(name, 0, wanted.size)
      assert whole.tobytes() == wanted.tobytes()
      assert found.read(name, 1, 3).tobytes() == wanted.reshape(-1)[1:3].tobytes()


def test_any_flipped_bit_of_the_header_is_noticed_or_harmless(file):
  whole = file.read_bytes()
  (length,) = struct.unpack('<Q', whole[:8])
  for place in range(8 + length):
    for bit in (place % 8,):
      flipped = bytearray(whole)
      flipped[place] ^= 1 << bit
      file.write_bytes(flipped)
      try:
        specs = read_header(file)
      except CheckpointError:
        continue
      # What is left are names and white space: each tensor is inside the file.
      assert all(8 <= spec.start <= spec.stop <= len(whole) for spec in specs.values())


@pytest.mark.parametrize('kept', [0, 4, 8, 40, -1])
def test_files_that_are_cut_off_say_so(file, kept):
  file.write_bytes(file.read_bytes()[:kept])
  with pytest.raises(CheckpointError, match='cut off'):
    read_header(file)


@pytest.mark.parametrize(
  'entry, message',
  [
    (dict(shape=[2**40, 2**40]), 'takes'),
    (dict(shape=[2, -3]), 'whole numbers'),
    (dict(shape=[True, 6]), 'whole numbers'),
    (dict(shape='23'), 'whole numbers'),
    (dict(dtype='F1'), "dtype='F1' is not known"),
    (dict(dtype=['F32']), 'is not known'),
    (dict(data_offsets=[0]), 'too many numbers|whole'),
    (dict(data_offsets=[4, 28]), 'overlap|gap'),
    (dict(data_offsets=[2**50, 2**50 + 24]), 'gap|overlap'),
    (dict(more=1), 'expected dtype, shape'),
  ],
)
def test_headers_that_lie_are_refused(file, entry, message):
  rewrite(file, lambda header: header | {'a': header['a'] | entry})
  with pytest.raises(CheckpointError, match=message):
    read_header(file)


@pytest.mark.parametrize(
  'text, message',
  [
    (b'[1]', 'no JSON object'),
    (b'{"a"', 'is no JSON'),
    (b'[' * 100_000, 'is no JSON'),
    (b'\xff\xfe', 'is no JSON'),
    (b'{"a": 1, "a": 2}', "names 'a' twice"),
  ],
)
def test_headers_that_are_no_json_are_refused(file, text, message):
  rewrite(file, lambda header: text)
  with pytest.raises(CheckpointError, match=message):
    read_header(file)


def test_a_header_of_any_claimed_length_is_not_read(file):
  file.write_bytes(struct.pack('<Q', 2**62) + b'{}')
  with pytest.raises(CheckpointError, match='4,611,686,018,427,387,904 bytes'):
    read_header(file)


def shards(tmp_path, change=None):
  """Returns the folder of TENSORS in two files; `change(weight_map, folder)` first."""
  index = small_folders.write_shards(tmp_path / 'model', {}, TENSORS)
  content = json.loads(index.read_text())
  if change:
    change(content['weight_map'], index.parent)
    index.write_text(json.dumps(content))
  return index.parent


def test_shards_hold_what_one_file_holds(tmp_path):
  with SafetensorsFiles(shards(tmp_path)) as found:
    for name, wanted in TENSORS.items():
      assert found.read(name, 0, wanted.size).tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
  'name',
  ['../model.safetensors', '/etc/x.safetensors', 'a/b.safetensors', '.x.safetensors',
   'C:\\x.safetensors', 'x.bin', 'x\0.safetensors'],
)  # fmt: skip
def test_an_index_names_files_beside_it_only(tmp_path, name):
  with pytest.raises(CheckpointError, match='expected the name of a .safetensors file'):
    SafetensorsFiles(shards(tmp_path, lambda where, _: where.update(a=name)))


def test_a_missing_shard_is_named(tmp_path):
  def remove(weight_map, folder):
    (folder / weight_map['b']).unlink()

  with pytest.raises(CheckpointError, match='model-00002-of-00002.* no such file'):
    SafetensorsFiles(shards(tmp_path, remove))


def test_an_index_has_to_fit_its_files(tmp_path):
  def change(weight_map, folder):
    weight_map['a'], weight_map['d'] = weight_map.pop('b'), weight_map['c']

  with pytest.raises(CheckpointError) as caught:
    SafetensorsFiles(shards(tmp_path, change))
  for line in ('a: in model', 'b: in model', 'd: not in model', 'the index says'):
    assert line in str(caught.value)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
  def copy(weight_map, folder):
    safetensors.numpy.save_file(
      {'a': TENSORS['a'], 'b': TENSORS['b']}, folder / weight_map['b']
    )

  with pytest.raises(CheckpointError, match='a: in both'):
    SafetensorsFiles(shards(tmp_path, copy))


def test_files_that_could_run_code_are_not_opened(tmp_path):
  (tmp_path / 'pytorch_model.bin').write_bytes(b'anything')
  with pytest.raises(CheckpointError, match='convert them once.*save_pretrained'):
    SafetensorsFiles(tmp_path)


def test_a_folder_without_tensors_says_so(tmp_path):
  with pytest.raises(CheckpointError, match='has no safetensors files'):
    SafetensorsFiles(tmp_path)
