"""The peer is the same model: same loss, logits and update; else it is refused."""

import jax
import numpy as np
import pytest

from gpt_jax.benchmarks import decoding, gpt2_shape, torch_gpt2, training
from gpt_jax.core.errors import ConfigError
from tests import tiny_runs
from tests.benchmarks.small_workloads import make_timed

GPT2 = {
  'model.position': 'learned',
  'model.norm': 'layernorm',
  'model.bias': True,
}


def make_gpt2(workdir, overrides=None):
  layers = {'model.num_layers': tiny_runs.tiny_config().model.num_layers}
  return make_timed(workdir, layers | GPT2 | (overrides or {}))


@pytest.fixture
def peer_packages():
  reason = "needs the extra 'compare': pip install -e '.[compare]'"
  pytest.importorskip('torch', reason=reason)
  pytest.importorskip('transformers', reason=reason)


@pytest.mark.slow
@pytest.mark.extra
def test_both_compute_the_same_logits(peer_packages, tmp_path):
  import torch

  timed = make_gpt2(tmp_path, {'model.scan_layers': True})
  peer = torch_gpt2.TorchGPT2(timed, 'float32')
  tokens_BT = np.asarray(timed.batch['tokens'])[:, :-1]
  expected_BTV, _ = timed.program.model.apply({'params': timed.state.params}, tokens_BT)
  with torch.no_grad():
    found_BTV = peer.model.eval()(torch.tensor(tokens_BT).long()).logits
  np.testing.assert_allclose(found_BTV.numpy(), expected_BTV, atol=2e-5)


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.parametrize(
  'overrides',
  [
    {},
    {'train.grad_accum': 2, 'model.scan_layers': False},
    {'optimizer.clip_norm': 0.01, 'optimizer.weight_decay': 0.5},
    {'optimizer.decay_mask': 'all', 'model.activation': 'gelu_exact'},
  ],
  ids=['plain', 'microbatches', 'clipped and decayed', 'all decay'],
)
def test_both_take_the_same_step(peer_packages, tmp_path, overrides):
  timed = make_gpt2(tmp_path, overrides)
  theirs, again = (torch_gpt2.TorchGPT2(timed, 'float32') for _ in range(2))
  (case,) = training.step(timed)
  case.run(2)
  theirs.step()
  theirs.step()
  torch_gpt2.load_params(again.model, jax.device_get(timed.state.params))
  ours = dict(again.model.named_parameters())
  for name, parameter in theirs.model.named_parameters():
    # Adam divides by roots of squares: where a gradient is rounding alone, so is this.
    np.testing.assert_allclose(
      parameter.detach().numpy(), ours[name].detach().numpy(), atol=2e-4, err_msg=name
    )
  loss = timed.first_loss
  assert loss['transformers'] == pytest.approx(loss['gpt_jax'], abs=1e-5)


@pytest.mark.slow
@pytest.mark.extra
def test_autocast_gives_the_same_loss_to_half_precision(peer_packages, tmp_path):
  timed = make_gpt2(tmp_path, {'model.dtype': 'bfloat16'})
  peer = torch_gpt2.TorchGPT2(timed, 'bfloat16')
  sums = timed.program.evaluate(timed.state.params, timed.batch, 0)
  expected = float(sums['loss'] / sums['targets'])
  assert float(peer.forward()) == pytest.approx(expected, rel=5e-3)


@pytest.mark.slow
@pytest.mark.extra
def test_both_write_the_same_text(peer_packages, tmp_path):
  timed = make_gpt2(tmp_path)
  peer = torch_gpt2.TorchGPT2(timed, 'float32')
  prompts = decoding.prompts(timed, (2,))[2]
  written = peer.generator(prompts)(8).numpy()
  from gpt_jax.inference import text
  from gpt_jax.inference.request import make_requests

  engine = text.make_engine(timed.config, timed.state.params, 16)
  ours = engine.generate(make_requests(list(prompts), max_new_tokens=8))
  np.testing.assert_array_equal(written[:, prompts.shape[1] :], np.stack(ours))


@pytest.mark.slow
@pytest.mark.extra
def test_the_peers_cases_match_ours(peer_packages, tmp_path):
  timed = make_gpt2(tmp_path)
  cases = torch_gpt2.cases(timed, ['step', 'forward', 'decode', 'loader'], 'float32')
  ours = ['step', 'forward']
  ours += [f'{kind}_{rows}' for rows in (1, 8, 32) for kind in ('prefill', 'decode')]
  ours += ['long_prompt']
  assert [case.name for case in cases] == [f'transformers/{name}' for name in ours]
  by_name = {case.name: case for case in cases}
  assert by_name['transformers/decode_8'].minus == 'transformers/prefill_8'
  for case in cases:
    case.run(1)


@pytest.mark.extra
def test_both_sides_have_the_same_threads(peer_packages, tmp_path):
  import torch

  torch_gpt2.TorchGPT2(make_gpt2(tmp_path), 'float32')
  assert torch.get_num_threads() == torch_gpt2.threads()


@pytest.mark.extra
def test_float16_is_refused(peer_packages, tmp_path):
  with pytest.raises(ConfigError, match='--vs_dtype=float16: expected one of float32'):
    torch_gpt2.TorchGPT2(make_gpt2(tmp_path), 'float16')


def test_without_the_packages_the_extra_is_named(monkeypatch):
  monkeypatch.setattr(torch_gpt2.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ConfigError, match=r'gpt_jax\[compare\]'):
    torch_gpt2.require_packages()


@pytest.mark.parametrize(
  'overrides, named',
  [
    ({'model.position': 'rope'}, "model.position='rope': GPT-2 has 'learned'"),
    ({'model.norm': 'rmsnorm'}, '--config.model.norm=layernorm'),
    ({'model.bias': False}, 'model.bias=False: GPT-2 has True'),
    ({'model.num_kv_heads': 1}, 'model.num_kv_heads=1: GPT-2 has 2'),
    ({'model.head_dim': 32}, 'model.head_dim=32: GPT-2 has 16'),
    ({'model.activation': 'swiglu'}, '--config.model.activation=gelu'),
    ({'model.layer_pattern': ('global', 'local:4')}, 'model.layer_pattern'),
    ({'attention.scale': 1.0}, 'attention.scale=1.0'),
    ({'attention.softcap': 5.0}, 'attention.softcap=5.0'),
    ({'optimizer.name': 'lion'}, "optimizer.name='lion': GPT-2 has 'adamw'"),
    ({'optimizer.decay_mask': 'kernel'}, "optimizer.decay_mask='kernel'"),
    ({'objective.name': 'prefix_lm'}, '--config.objective.name=causal_lm'),
    ({'data.mask_documents': True}, '--config.data.mask_documents=False'),
  ],
)
def test_another_model_is_refused_with_field_and_fix(overrides, named):
  gpt2_shape.check(tiny_runs.tiny_config(GPT2))
  with pytest.raises(ConfigError) as caught:
    gpt2_shape.check(tiny_runs.tiny_config(GPT2 | overrides))
  assert named in str(caught.value)


def test_all_differences_are_listed_at_once():
  with pytest.raises(ConfigError) as caught:
    gpt2_shape.check(tiny_runs.tiny_config())
  for field in ('model.position', 'model.norm', 'model.bias'):
    assert field in str(caught.value)
