"""Tensors of GGUF files: plain ones by hand, packed ones as their own package does."""

import builtins

import ml_dtypes
import numpy as np
import pytest

from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import gguf_file
from gpt_jax.interop.gguf_file import GGUFFile
from tests.interop import gguf_bytes

VALUES = np.random.default_rng(0).normal(size=(6, 256)).astype(np.float32)


@pytest.mark.parametrize('number, name', [(0, 'F32'), (1, 'F16'), (30, 'BF16')])
def test_plain_tensors_are_read_as_written(number, name, tmp_path):
  stored = VALUES.astype(gguf_file.PLAIN[name])
  tensors = {'x': (number, stored.tobytes(), VALUES.shape), 'y': np.ones(3)}
  with GGUFFile(gguf_bytes.write(tmp_path / 'a.gguf', {}, tensors)) as file:
    found = file.read('x').reshape(file.tensors['x'].shape)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stored.astype(np.float32))
    part = file.read('x', 512, 1024)
    np.testing.assert_array_equal(part, found[2:4].reshape(-1))


@pytest.mark.slow
@pytest.mark.parametrize(
  'name', ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K',
           'Q6_K', 'IQ4_NL', 'IQ4_XS', 'IQ2_S'],
)  # fmt: skip
def test_packed_tensors_are_as_the_package_unpacks_them(name, tmp_path, monkeypatch):
  gguf = pytest.importorskip('gguf', reason="needs pip install 'gpt_jax[gguf]'")
  kind = gguf.GGMLQuantizationType[name]
  block, size = gguf.GGML_QUANT_SIZES[kind]
  raw = np.random.default_rng(1).integers(0, 60, (6, 256 // block * size), np.uint8)
  tensors = {'x': (int(kind), raw.tobytes(), (6, 256))}
  monkeypatch.setattr(gguf_file, '_CHUNK_VALUES', 512)
  with GGUFFile(gguf_bytes.write(tmp_path / 'a.gguf', {}, tensors)) as file:
    expected = gguf.quants.dequantize(raw, kind)
    np.testing.assert_array_equal(file.read('x').reshape(6, 256), expected)
    part = file.read('x', 256, 1280)
    np.testing.assert_array_equal(part, expected[1:5].reshape(-1))


def test_equal_bytes_make_a_copy(tmp_path):
  tensors = {'a': VALUES, 'b': VALUES, 'c': VALUES + 1, 'd': VALUES.T}
  with GGUFFile(gguf_bytes.write(tmp_path / 'a.gguf', {}, tensors)) as file:
    assert file.is_copy('a', 'b')
    assert not file.is_copy('a', 'c') and not file.is_copy('a', 'd')


def test_numbers_that_are_not_finite_are_refused(tmp_path):
  path = gguf_bytes.write(tmp_path / 'a.gguf', {}, {'x': np.array([1.0, np.nan])})
  with pytest.raises(CheckpointError, match="tensor 'x' has numbers that are not"):
    GGUFFile(path).read('x')


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
  path = gguf_bytes.write(tmp_path / 'a.gguf', {}, {'x': VALUES})
  with GGUFFile(path) as file:
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="tensor 'x' ends early"):
      file.read('x')


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
  for path in (tmp_path / 'none.gguf', tmp_path):
    with pytest.raises(CheckpointError, match='cannot be read'):
      GGUFFile(path)


def test_packed_tensors_name_the_extra_when_it_is_missing(tmp_path, monkeypatch):
  path = gguf_bytes.write(tmp_path / 'a.gguf', {}, {'x': (8, bytes(34), (32,))})
  find = builtins.__import__

  def find_no_gguf(name, *arguments, **options):
    if name == 'gguf':
      raise ImportError(name)
    return find(name, *arguments, **options)

  monkeypatch.setattr(builtins, '__import__', find_no_gguf)
  with pytest.raises(CheckpointError, match=r'type Q8_0 needs .*gpt_jax\[gguf\]'):
    GGUFFile(path)
  tensors = {'x': VALUES.astype(ml_dtypes.bfloat16)}
  assert GGUFFile(gguf_bytes.write(tmp_path / 'b.gguf', {}, tensors)).tensors
