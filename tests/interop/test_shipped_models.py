"""configs/ has the published models: their parameters, and nothing else computed."""

import pytest

from gpt_jax.config.files import load_file
from gpt_jax.interop import families, numerics
from gpt_jax.interop.export_model import problems_of
from gpt_jax.interop.families import FAMILIES
from gpt_jax.interop.fields import Fields
from gpt_jax.model import flops
from gpt_jax.program import setup
from tests import tiny_runs
from tests.interop.hub_configs import SHIPPED

# Counts of model cards and papers: of the tensors that the published files hold.
PUBLISHED = {
  'gpt2:124m': ('gpt2', 124_439_808),
  'gpt2:355m': ('gpt2', 354_823_168),
  'gpt2:774m': ('gpt2', 774_030_080),
  'gpt2:1558m': ('gpt2', 1_557_611_200),
  'pythia:70m': ('gpt_neox', 70_426_624),
  'pythia:160m': ('gpt_neox', 162_322_944),
  'pythia:410m': ('gpt_neox', 405_334_016),
  'pythia:1b': ('gpt_neox', 1_011_781_632),
  'pythia:1.4b': ('gpt_neox', 1_414_647_808),
  'pythia:2.8b': ('gpt_neox', 2_775_208_960),
  'pythia:6.9b': ('gpt_neox', 6_857_302_016),
  'pythia:12b': ('gpt_neox', 11_846_072_320),
  'llama:1b': ('llama', 1_100_048_384),
  'llama:7b': ('llama', 6_738_415_616),
  'llama3:3.2-1b': ('llama', 1_235_814_400),
  'llama3:3.2-3b': ('llama', 3_212_749_824),
  'llama3:3.1-8b': ('llama', 8_030_261_248),
  'llama3:3.1-70b': ('llama', 70_553_706_496),
  'mistral:7b-v0.1': ('mistral', 7_241_732_096),
  'mistral:7b-v0.3': ('mistral', 7_248_023_552),
  'qwen:2.5-0.5b': ('qwen2', 494_032_768),
  'qwen:2.5-1.5b': ('qwen2', 1_543_714_304),
  'qwen:2.5-3b': ('qwen2', 3_085_938_688),
  'qwen:2.5-7b': ('qwen2', 7_615_616_512),
  'qwen:3-0.6b': ('qwen3', 596_049_920),
  'qwen:3-1.7b': ('qwen3', 1_720_574_976),
  'qwen:3-4b': ('qwen3', 4_022_468_096),
  'qwen:3-8b': ('qwen3', 8_190_735_360),
  'gemma:2-2b': ('gemma2', 2_614_341_888),
  'gemma:2-9b': ('gemma2', 9_241_705_984),
  'gemma:2-27b': ('gemma2', 27_227_128_320),
  'gemma:3-270m': ('gemma3_text', 268_098_176),
  'gemma:3-1b': ('gemma3_text', 999_885_952),
}


@pytest.mark.parametrize('spec', tiny_runs.mostly_slow(PUBLISHED))
def test_a_published_model_is_one_of_its_family(spec):
  family, count = PUBLISHED[spec]
  config = setup.resolve(load_file(spec))
  assert flops.parameter_count(config.model) == count
  assert problems_of(FAMILIES[family], config) == []


@pytest.mark.parametrize('spec', SHIPPED)
def test_a_published_config_is_ours_of_that_name(spec):
  values = SHIPPED[spec]
  fields = Fields(values, 'config.json')
  ours = families.find(values, 'config.json').to_config(fields)
  fields.finish()
  config = setup.resolve(load_file(spec))
  assert numerics.differences(config, numerics.resolve(ours)) == []
