"""Headers of GGUF files: read as written, or refused in one line."""

import io
import struct
import tracemalloc

import numpy as np
import pytest

from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import gguf_header
from tests.interop import gguf_bytes

FIELDS = {
  'general.architecture': 'llama',
  'llama.block_count': 2,
  'llama.eps': 1e-6,  # of 32 bits in the file
  'flag': True,
  'tokens': ['a', 'é', ''],
  'scores': np.array([0.5, -1.5, 0.0], '<f4'),
}
TENSORS = {
  'one': np.arange(6.0).reshape(2, 3),
  'two': (8, bytes(range(68)), (2, 32)),  # Q8_0
  'three': np.arange(9.0),
}
CONTENT, HEADER = gguf_bytes.make(FIELDS, TENSORS)


def read(content):
  return gguf_header.read_header(io.BytesIO(content), len(content), 'x.gguf')


def plain(fields):
  return {
    key: value.tolist() if isinstance(value, np.ndarray) else value
    for key, value in fields.items()
  }


def test_a_header_is_read_as_it_was_written():
  fields, places = read(CONTENT)
  assert plain(fields) == plain(FIELDS)
  assert [place.shape for place in places.values()] == [(2, 3), (2, 32), (9,)]
  assert [place.kind for place in places.values()] == ['F32', 'Q8_0', 'F32']
  start = places['two'].start
  assert CONTENT[start : start + places['two'].num_bytes] == bytes(range(68))


@pytest.mark.parametrize('alignment', [8, 64])
def test_the_alignment_of_the_header_is_obeyed(alignment):
  fields = {'general.alignment': alignment}
  content, _ = gguf_bytes.make(fields, TENSORS, alignment=alignment)
  _, places = read(content)
  assert all(place.start % alignment == 0 for place in places.values())
  start = places['three'].start
  np.testing.assert_array_equal(
    np.frombuffer(content[start : start + 36], '<f4'), np.arange(9.0)
  )


def test_a_file_cut_anywhere_is_refused_in_one_line():
  for length in range(len(CONTENT) - 28):  # the last 28 bytes are padding
    with pytest.raises(CheckpointError) as found:
      read(CONTENT[:length])
    assert '\n' not in str(found.value) and 'x.gguf' in str(found.value)


def test_flipped_bits_are_refused_or_read_without_much_memory():
  outcomes = set()
  tracemalloc.start()
  for position in range(HEADER):
    for flip in (0x01, 0x10, 0x80, 0xFF):
      content = bytearray(CONTENT)
      content[position] ^= flip
      try:
        _, places = read(bytes(content))
      except CheckpointError as error:
        assert '\n' not in str(error)
        outcomes.add('refused')
        continue
      outcomes.add('read')
      ends = [place.start + place.num_bytes for place in places.values()]
      assert max(ends, default=0) <= len(content)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert outcomes == {'refused', 'read'} and peak < 1 << 20


@pytest.mark.parametrize('where', [8, 16, 24], ids=['tensors', 'fields', 'a length'])
@pytest.mark.parametrize('count', [1 << 20, 1 << 40, (1 << 64) - 1])
def test_counts_beyond_the_file_allocate_nothing(where, count):
  content = CONTENT[:where] + struct.pack('<Q', count) + CONTENT[where + 8 :]
  tracemalloc.start()
  with pytest.raises(CheckpointError):
    read(content)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 1 << 20


def changed(fields=None, tensors=None, **options):
  return gguf_bytes.make(fields or {}, tensors or {}, **options)[0]


ONE = {'x': np.zeros(8)}


@pytest.mark.parametrize(
  'content, message',
  [
    (b'PK\3\4' + bytes(60), 'not a GGUF file'),
    (changed(version=1), 'GGUF version 1; expected 2 or 3'),
    (changed(version=3 << 24), 'of a big-endian machine'),
    (changed({'general.alignment': 3}), 'general.alignment=3; expected a power of two'),
    (changed({'general.alignment': 0.5}), 'general.alignment=0.5'),
    (changed({'general.alignment': 1 << 30}), 'general.alignment=1073741824'),
    (changed(tensors={'x': (8, bytes(34), (33,))}), 'a multiple of 32'),
    (changed(tensors={'x': (5, bytes(34), (32,))}), 'has the type 5, which is not'),
    (changed(tensors={'x': (0, b'', (0, 8))}), r'the shape \[0, 8\]'),
    (changed(tensors={'x': (0, bytes(4), (1,) * 5)}), '5 dimensions; expected 1 to 4'),
    (changed(tensors=ONE) + bytes(32), 'its tensors end at byte'),
    (changed(tensors={'x': (0, bytes(32), (1 << 40,))}), 'ends at byte'),
    (changed(tensors={'x': (0, bytes(32), (1 << 33, 1 << 33))}), 'ends at byte'),
  ],
)  # fmt: skip
def test_what_is_wrong_is_named(content, message):
  with pytest.raises(CheckpointError, match=message):
    read(content)


def test_names_that_come_twice_are_refused():
  twice = CONTENT.replace(b'llama.eps', b'general.x').replace(b'tokens', b'scores')
  with pytest.raises(CheckpointError, match="field 'scores' is there twice"):
    read(twice)
  with pytest.raises(CheckpointError, match="tensor 'one' is there twice"):
    read(CONTENT.replace(b'two', b'one'))


def test_offsets_that_overlap_are_refused():
  place = CONTENT.rindex(struct.pack('<Q', 128), 0, HEADER)
  content = CONTENT[:place] + struct.pack('<Q', 32) + CONTENT[place + 8 :]
  with pytest.raises(CheckpointError, match='has the offset 32, not 128'):
    read(content)


@pytest.mark.slow
def test_sizes_of_types_are_those_of_the_package():
  gguf = pytest.importorskip('gguf', reason="needs pip install 'gpt_jax[gguf]'")
  sizes = {kind.name: size for kind, size in gguf.GGML_QUANT_SIZES.items()}
  for number, (name, *size) in gguf_header.TENSOR_KINDS.items():
    assert sizes[name] == tuple(size)
    assert gguf.GGMLQuantizationType(number).name == name
