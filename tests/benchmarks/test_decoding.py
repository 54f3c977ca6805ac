"""Decoding is timed with the engine of `generate`, against the bytes it reads."""

import jax
import pytest

from gpt_jax.benchmarks import decoding
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.engine import Engine
from tests.benchmarks.small_workloads import make_timed


def test_decoding_uses_the_engine_and_subtracts_prefill(timed, monkeypatch):
  calls = []
  usual = Engine.generate

  def generate(self, requests):
    first = requests[0]
    calls.append((len(requests), len(first.prompt_ids), first.max_new_tokens))
    return usual(self, requests)

  monkeypatch.setattr(Engine, 'generate', generate)
  prefill, decode, first = decoding.cases(timed, batch_sizes=(2,))
  calls.clear()
  prefill.run(1)
  decode.run(1)
  first.run(1)
  assert calls == [(2, 5, 1), (2, 5, 10), (1, 15, 1)]
  assert (prefill.name, decode.name, decode.minus) == (
    'prefill_2',
    'decode_2',
    'prefill_2',
  )
  assert (prefill.tokens, decode.tokens, first.tokens) == (2 * 5, 2 * 9, 15)


LENGTHS = [(1024, (64, 128)), (256, (64, 128)), (100, (33, 66)), (16, (5, 10))]


@pytest.mark.parametrize('seq_len, lengths', LENGTHS)
def test_prompt_and_continuation_fit_the_sequence(seq_len, lengths):
  assert decoding.lengths(seq_len) == lengths
  assert sum(lengths) <= seq_len


def test_a_token_reads_the_weights_and_the_cache(timed):
  _, decode, _ = decoding.cases(timed, batch_sizes=(1,))
  model = timed.config.model
  weights = sum(x.nbytes for x in jax.tree.leaves(timed.state.params))  # tied, rope
  cache = 2 * model.num_layers * model.num_kv_heads * model.head_dim * 4
  assert decode.bytes == 9 * (weights + 10 * cache)


def test_embeddings_that_are_looked_up_are_not_read(tmp_path):
  overrides = {'model.position': 'learned', 'model.tie_embeddings': False}
  timed = make_timed(tmp_path, overrides)
  params = timed.state.params
  everything = sum(x.nbytes for x in jax.tree.leaves(params))
  embeddings = (
    params['embed']['embedding'].nbytes + params['position']['embedding'].nbytes
  )
  read = decoding.token_bytes(timed.config, params, rows=1, cached=0)
  assert read == everything - embeddings


def test_a_bidirectional_model_is_refused(tmp_path):
  timed = make_timed(tmp_path, {'objective.name': 'masked_lm'})
  with pytest.raises(ConfigError, match='leave decode out of --what'):
    decoding.cases(timed)


@pytest.mark.slow
def test_another_dtype_is_timed_beside_float32(tmp_path):
  timed = make_timed(tmp_path, {'model.dtype': 'bfloat16'})
  cases = {case.name: case for case in decoding.cases(timed, batch_sizes=(1,))}
  assert list(cases) == [
    'prefill_1', 'decode_1', 'long_prompt',
    'prefill_1_float32', 'decode_1_float32', 'long_prompt_float32',
  ]  # fmt: skip
  assert cases['decode_1_float32'].minus == 'prefill_1_float32'
  # Of the same number of weights, in half the bytes but for those of norms.
  assert cases['decode_1'].bytes < 0.7 * cases['decode_1_float32'].bytes


def test_a_model_in_few_bits_is_timed_in_full_too(tmp_path):
  fields = {'model.quantization': 'int8', 'model.quantized_embedding': True}
  found = decoding.cases(make_timed(tmp_path, fields), batch_sizes=(1,))
  names = [case.name for case in found]
  assert names[:2] == ['prefill_1', 'decode_1']
  assert names[-3:] == ['prefill_1_full', 'decode_1_full', 'long_prompt_full']
  assert found[-2].bytes > 2 * found[1].bytes
