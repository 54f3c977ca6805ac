"""Adapters of peft give its logits here, and ours give ours in peft."""

import json

import numpy as np
import pytest

import gpt_jax
from gpt_jax.interop import export_model
from gpt_jax.peft import METHODS
from gpt_jax.peft_formats.export_adapter import export_adapter
from gpt_jax.peft_formats.import_adapter import import_adapter
from gpt_jax.workdir.paths import Workdir
from tests.interop import oracle, test_parity
from tests.peft_formats import adapters, runs

pytestmark = [pytest.mark.slow, pytest.mark.extra]

CASES = {
  'gpt2_dora': ('gpt2', dict(
    r=4, target_modules=['c_attn', 'c_proj'], use_dora=True, bias='all',
    rank_pattern={'c_proj': 2}, alpha_pattern={r'attn\.c_proj': 5})),
  'gpt2_only_mlp': ('gpt2_untied', dict(r=2, target_modules=r'.*\.mlp\.c_\w+')),
  'neox_rslora': ('gpt_neox', dict(
    r=3, target_modules='all-linear', use_rslora=True, bias='lora_only')),
  'llama': ('llama', dict(r=4, lora_alpha=3, target_modules=['q_proj', 'v_proj'])),
  'llama_patterns': ('llama3', dict(
    r=4, target_modules=['q_proj', 'k_proj', 'down_proj'], use_rslora=True,
    use_dora=True, rank_pattern={r'layers\.1\..*down_proj': 2},
    alpha_pattern={'q_proj': 32})),
  'qwen3': ('qwen3', dict(r=2, target_modules=['o_proj', 'gate_proj'])),
  'gemma3_some_layers': ('gemma3', dict(
    r=4, target_modules=['q_proj', 'up_proj'], layers_to_transform=[1, 3])),
  'mistral_excluded': ('mistral', dict(
    r=2, target_modules=['k_proj', 'o_proj'], exclude_modules=r'.*\.0\..*o_proj')),
}  # fmt: skip
TOKENS_BT = oracle.tokens(61, 24)


@pytest.fixture(scope='module', params=sorted(CASES))
def case(request, tmp_path_factory):
  """Returns (name of the family, folder with base, adapter and run, peft's logits)."""
  family, fields = CASES[request.param]
  model, folder = test_parity.make(family), tmp_path_factory.mktemp(request.param)
  model.save_pretrained(folder / 'base')
  adapted = adapters.adapted(model, **fields)
  adapters.save(adapted, folder / 'adapter')
  import_adapter(folder / 'adapter', folder / 'base', Workdir(folder / 'run'))
  return family, folder, oracle.logits_of(adapted, TOKENS_BT)


def test_logits_are_those_of_peft(case):
  _, folder, wanted = case
  found = np.asarray(gpt_jax.load(folder / 'run').logits(TOKENS_BT))
  plain = np.asarray(gpt_jax.load(folder / 'base').logits(TOKENS_BT))
  np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)
  assert abs(plain - wanted).max() > 0.01


def export(folder, out):
  """Writes the adapter of a run."""
  run = runs.open_run(folder)
  family = export_model.choose_family(
    run.config, preferred=run.store.read_meta(0).get('imported', {}).get('family')
  )
  return export_adapter(run, family, out)


def test_peft_reads_what_was_exported(case, tmp_path):
  family, folder, wanted = case
  files = export(folder / 'run', tmp_path / 'out')
  assert files == ['adapter_config.json', 'adapter_model.safetensors']
  again = adapters.load(test_parity.make(family), tmp_path / 'out')
  np.testing.assert_allclose(
    oracle.logits_of(again, TOKENS_BT), wanted, atol=1e-5, rtol=0
  )


OURS = {
  'query_alone': dict(rank=2),
  'key_and_value_dora': dict(rank=2, targets='key|value', dora=True),
  'ranks_differ': dict(
    rank=3, targets='attention', rank_pattern={'key': 1}, rank_stabilized=True
  ),
  'pissa': dict(rank=2, targets='', init='pissa'),
  'biases': dict(rank=2, targets='query|up', biases='targets'),
  'all_biases': dict(rank=2, targets='down', biases='all', scan=False),
}


@pytest.mark.parametrize('name', sorted(OURS))
def test_ours_over_a_fused_matrix_is_exact_in_peft(name, tmp_path):
  transformers = oracle.libraries()[1]
  base = runs.gpt2(tmp_path / 'base')
  runs.write(tmp_path / 'run', base, **OURS[name])
  export(tmp_path / 'run', tmp_path / 'out')
  model = oracle.load(base, transformers.GPT2LMHeadModel)
  found = oracle.logits_of(adapters.load(model, tmp_path / 'out'), runs.TOKENS_BT)
  wanted = np.asarray(gpt_jax.load(tmp_path / 'run').logits(runs.TOKENS_BT))
  np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)
  import_adapter(tmp_path / 'out', base, Workdir(tmp_path / 'again'))
  again = np.asarray(gpt_jax.load(tmp_path / 'again').logits(runs.TOKENS_BT))
  np.testing.assert_allclose(again, wanted, atol=1e-5, rtol=0)


IA3 = {
  'gpt2': ('gpt2', dict(
    target_modules=['c_attn', 'mlp.c_proj'], feedforward_modules=['mlp.c_proj'])),
  'llama': ('llama', dict(
    target_modules=['k_proj', 'v_proj', 'down_proj'],
    feedforward_modules=['down_proj'])),
  'mistral_text': ('mistral', dict(
    target_modules=r'.*\.1\..*(v|up|o)_proj', feedforward_modules=r'.*o_proj')),
}  # fmt: skip


@pytest.mark.skipif('ia3' not in METHODS, reason='there is no peft.name="ia3"')
@pytest.mark.parametrize('name', sorted(IA3))
def test_ia3_is_that_of_peft_both_ways(name, tmp_path):
  library, (family, fields) = adapters.library(), IA3[name]
  model = test_parity.make(family)
  model.save_pretrained(tmp_path / 'base')
  config = library.IA3Config(**fields)
  adapted = adapters.randomized(library.get_peft_model(model, config))
  adapters.save(adapted, tmp_path / 'adapter')
  wanted = oracle.logits_of(adapted, TOKENS_BT)
  import_adapter(tmp_path / 'adapter', tmp_path / 'base', Workdir(tmp_path / 'run'))
  found = np.asarray(gpt_jax.load(tmp_path / 'run').logits(TOKENS_BT))
  np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)
  export(tmp_path / 'run', tmp_path / 'out')
  again = adapters.load(test_parity.make(family), tmp_path / 'out')
  np.testing.assert_allclose(
    oracle.logits_of(again, TOKENS_BT), wanted, atol=1e-5, rtol=0
  )


VIRTUAL = {
  'prefix_gpt2': ('gpt2', 'PrefixTuningConfig', {}),
  'prefix_llama': ('llama', 'PrefixTuningConfig', {}),
  'prefix_neox_projected': ('gpt_neox', 'PrefixTuningConfig', dict(
    prefix_projection=True, encoder_hidden_size=12)),
  'prompt_gpt2': ('gpt2', 'PromptTuningConfig', {}),
  'prompt_llama': ('llama', 'PromptTuningConfig', {}),
  'prompt_gemma2': ('gemma2', 'PromptTuningConfig', {}),
  'prompt_gemma3': ('gemma3', 'PromptTuningConfig', {}),
}  # fmt: skip


@pytest.mark.parametrize('name', sorted(VIRTUAL))
def test_virtual_tokens_are_those_of_peft_both_ways(name, tmp_path):
  library, (family, kind, fields) = adapters.library(), VIRTUAL[name]
  model = test_parity.make(family)
  model.save_pretrained(tmp_path / 'base')
  fields = fields | dict(num_virtual_tokens=5, task_type='CAUSAL_LM')
  adapted = library.get_peft_model(model, getattr(library, kind)(**fields))
  adapters.save(adapters.randomized(adapted), tmp_path / 'adapter')
  count = TOKENS_BT.shape[1]
  wanted = oracle.logits_of(adapted, TOKENS_BT)[:, -count:]
  import_adapter(tmp_path / 'adapter', tmp_path / 'base', Workdir(tmp_path / 'run'))
  found = np.asarray(gpt_jax.load(tmp_path / 'run').logits(TOKENS_BT))
  np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)
  export(tmp_path / 'run', tmp_path / 'out')
  again = adapters.load(test_parity.make(family), tmp_path / 'out')
  found = oracle.logits_of(again, TOKENS_BT)[:, -count:]
  # Gemma's prompts are divided by the embedding's scale and multiplied again.
  atol = 1e-4 if 'gemma' in family else 1e-5
  np.testing.assert_allclose(found, wanted, atol=atol, rtol=0)


SMALL_BERT = dict(
  vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
  num_attention_heads=4, max_position_embeddings=64,
)  # fmt: skip


@pytest.mark.parametrize(
  'of_base, bias',
  [('BertModel', 'none'), ('BertForSequenceClassification', 'all')],
)
def test_a_classifier_comes_along(of_base, bias, tmp_path):
  transformers = oracle.libraries()[1]
  base, kind = tmp_path / 'base', transformers.BertForSequenceClassification
  oracle.make('BertConfig', of_base, **SMALL_BERT, num_labels=3).save_pretrained(base)

  def fresh():
    return kind.from_pretrained(base, num_labels=3, attn_implementation='eager').eval()

  adapted = adapters.adapted(
    fresh(), r=4, task_type='SEQ_CLS', target_modules=['query', 'output.dense'],
    exclude_modules=r'.*pooler.*', bias=bias,
  )  # fmt: skip
  adapters.save(adapted, tmp_path / 'adapter')
  import_adapter(tmp_path / 'adapter', base, Workdir(tmp_path / 'run'))
  run, wanted = gpt_jax.load(tmp_path / 'run'), oracle.logits_of(adapted, TOKENS_BT)
  found = run.classify([' '.join(map(str, row)) for row in TOKENS_BT])
  odds = np.exp(wanted) / np.exp(wanted).sum(-1, keepdims=True)
  np.testing.assert_allclose(found, odds, atol=1e-5, rtol=0)
  export(tmp_path / 'run', tmp_path / 'out')
  fields = json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())
  assert fields['modules_to_save'] == ['bert.pooler.dense', 'classifier']
  again = oracle.logits_of(adapters.load(fresh(), tmp_path / 'out'), TOKENS_BT)
  np.testing.assert_allclose(again, wanted, atol=1e-5, rtol=0)
