"""Beam search gives the texts and scores of transformers on the same weights."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from gpt_jax.inference.beam_search import BeamSearch
from gpt_jax.inference.beams import BeamSettings
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.request import Request
from gpt_jax.inference.settings import Sampling
from tests import small_models as small
from tests.inference import test_placement as placed
from tests.inference.test_engine import PROMPTS, make
from tests.inference.test_text import ABC
from tests.inference.test_text import make as make_text

END = 5
GPT2 = dict(
  data__seq_len=64, model__position='learned', model__norm='layernorm',
  model__vocab_size=20, model__num_layers=2,
)  # fmt: skip


@pytest.mark.slow
def test_one_beam_is_greedy_decoding():
  engine = make()[2]
  search = BeamSearch(engine)
  for prompt in PROMPTS:
    request = Request(prompt_ids=prompt, max_new_tokens=12, stop_ids=(END,))
    ((text, _),) = search.search(request, BeamSettings(beams=1))
    (expected,) = engine.write([request])
    assert text.ids.tolist() == expected.ids.tolist()
    assert text.finish == expected.finish


@functools.cache
def peers():
  """Returns (our engine, transformers' model) with the same weights."""
  pytest.importorskip('torch', reason='the oracle needs torch')
  transformers = pytest.importorskip('transformers', reason='it is the oracle')
  from gpt_jax.benchmarks import torch_gpt2

  config = small.resolve(**GPT2)
  model = small.make_gpt(config)
  params = small.random_params(model)
  engine = Engine(config.model, params, attend=model.attend)
  architecture = dataclasses.asdict(config.model)
  peer = transformers.GPT2LMHeadModel(
    transformers.GPT2Config(
      vocab_size=architecture['vocab_size'],
      n_positions=architecture['max_seq_len'],
      n_embd=architecture['d_model'],
      n_layer=architecture['num_layers'],
      n_head=architecture['num_heads'],
      n_inner=architecture['d_ff'],
      layer_norm_epsilon=architecture['norm_eps'],
      bos_token_id=None,
      eos_token_id=None,
    )
  )
  torch_gpt2.load_params(peer, jax.device_get(params))
  return BeamSearch(engine), peer.eval()


@pytest.mark.slow
@pytest.mark.parametrize('early_stopping', [True, False, 'never'])
@pytest.mark.parametrize('length_penalty', [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize('settings', [{}, dict(repetition_penalty=1.3)])
def test_texts_and_scores_are_those_of_transformers(
  early_stopping, length_penalty, settings
):
  search, peer = peers()
  import torch

  for seed, beams in ((0, 2), (1, 3), (2, 4), (3, 4)):
    prompt = small.random_tokens(1, 3 + seed, 20, seed)[0]
    request = Request(
      prompt_ids=prompt,
      max_new_tokens=14,
      stop_ids=(END,),
      sampling=Sampling(**settings),
    )
    found = search.search(
      request,
      BeamSettings(
        beams=beams, length_penalty=length_penalty, early_stopping=early_stopping
      ),
      n=beams,
    )
    expected = peer.generate(
      torch.from_numpy(prompt[None].astype(np.int64)),
      attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
      num_beams=beams, num_return_sequences=beams, max_new_tokens=14, do_sample=False,
      length_penalty=length_penalty, early_stopping=early_stopping, pad_token_id=END,
      eos_token_id=END, return_dict_in_generate=True, output_scores=True, **settings,
    )  # fmt: skip
    for i, (text, score) in enumerate(found):
      ids = expected.sequences[i, len(prompt) :].tolist()
      ids = ids[: ids.index(END)] if END in ids else ids
      assert text.ids.tolist() == ids
      assert score == pytest.approx(float(expected.sequences_scores[i]), abs=1e-4)


@pytest.mark.slow
def test_beams_obey_stop_and_banned_strings():
  generator = make_text(ABC)
  settings = dict(beams=3, n=3, max_new_tokens=16)
  free = generator.complete('ab', **settings)
  banned = free[0].text[2:5]
  for found in generator.complete('ab', banned=banned, **settings):
    assert banned not in 'ab' + found.text
  for found in generator.complete('ab', stop=banned, **settings):
    assert banned not in found.text
  assert free[0].score >= free[1].score >= free[2].score


@pytest.mark.slow
def test_log_probabilities_of_beams_add_up_to_their_score():
  (found,) = make_text(ABC).complete('ab', beams=3, max_new_tokens=9, logprobs=1)
  total = sum(token.log_prob for token in found.log_probs)
  assert total / 9 == pytest.approx(found.score, abs=1e-4)


@pytest.mark.slow
def test_beams_on_eight_devices_are_those_of_one():
  settings = BeamSettings(beams=3)
  request = Request(prompt_ids=PROMPTS[0], max_new_tokens=9, stop_ids=(END,))
  config = placed.config_of(placed.GROUPED)
  params, attend = placed.one_device(True)[0], small.make_gpt(config).attend
  alone = BeamSearch(Engine(config.model, params, attend=attend))
  expected = alone.search(request, settings, n=3)
  found = BeamSearch(placed.on_mesh('kv heads and width')[1])
  for (text, score), (other, other_score) in zip(
    expected, found.search(request, settings, n=3), strict=True
  ):
    assert text.ids.tolist() == other.ids.tolist()
    assert score == pytest.approx(other_score, abs=1e-4)
