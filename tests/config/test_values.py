"""Text of the command line, read by the type of its field."""

import pytest

from tests import small_models as small


@pytest.mark.parametrize(
  'dotted,text,value',
  [
    ('train.steps', '1e3', 1000),
    ('train.steps', '1_000', 1000),
    ('optimizer.learning_rate', '3e-4', 3e-4),
    ('optimizer.learning_rate', '1', 1.0),
    ('model.bias', 'false', False),
    ('model.bias', 'True', True),
    ('model.num_kv_heads', '2', 2),
    ('data.path', '123', '123'),
    ('data.path', 'None', 'None'),
    ('data.split', 'train[:10%]', 'train[:10%]'),
    ('model.layer_pattern', 'global', ('global',)),
    ('model.layer_pattern', 'global,local:4', ('global', 'local:4')),
    ('model.layer_pattern', "('global', 'local:4')", ('global', 'local:4')),
    ('objective.mask_split', '[1, 0, 0]', (1.0, 0.0, 0.0)),
    ('model.layer_pattern', 'global, local:4', ('global', 'local:4')),
    ('logging.sample_prompts', 'Once', ('Once',)),
    ('logging.sample_prompts', 'Once, twice', ('Once, twice',)),
    ('logging.sample_prompts', 'The ', ('The ',)),
    ('logging.sample_prompts', '123', ('123',)),
    ('logging.sample_prompts', '"so"', ('"so"',)),
    ('logging.sample_prompts', '(a, b)', ('(a, b)',)),
    ('logging.sample_prompts', '', ('',)),
    ('logging.sample_prompts', '()', ()),
    ('logging.sample_prompts', "('Once, ', 'The ')", ('Once, ', 'The ')),
    ('logging.sample_prompts', "['a']", ('a',)),
    ('data.label_names', 'good, bad', ('good', 'bad')),
    ('data.label_names', "('so, so', 'bad')", ('so, so', 'bad')),
    ('eval.metrics', '', ()),
    ('checkpoint.retry_seconds', '1', (1.0,)),
    ('parallel.mesh', "{'fsdp': 8}", {'fsdp': 8}),
    ('train.ramp_tokens', 'None', None),
    ('schedule.decay_steps', '', None),
  ],
)
def test_override_text_is_parsed_by_the_type_of_its_field(dotted, text, value):
  config = small.resolve(**{dotted.replace('.', '__'): text})
  section, _, name = dotted.partition('.')
  got = getattr(getattr(config, section), name)
  assert got == value and type(got) is type(value)


def test_token_budgets_may_be_written_as_powers_of_ten():
  config = small.resolve(train__steps='None', train__tokens='1e9')
  assert (config.train.steps, config.train.tokens) == (None, 1_000_000_000)
