"""Names for Kubernetes and the TPU API: RFC 1035, and room for what is appended."""

import re

import pytest

from gpt_jax.launchers import dns_labels

RFC_1035 = re.compile(r'[a-z]([-a-z0-9]{0,61}[a-z0-9])?')


@pytest.mark.parametrize(
  'text, expected',
  [
    ('gpt2', 'gpt2'),
    ('GPT-2_124m', 'gpt-2-124m'),
    ('one_layer,seed=5', 'one-layer-seed-5'),
    ('124m', 'run-124m'),
    ('--', 'run'),
  ],
)
def test_any_text_makes_a_label(text, expected):
  assert dns_labels.label(text) == expected
  assert RFC_1035.fullmatch(expected)
  assert dns_labels.problem('--name', expected) is None


def test_names_that_are_cut_stay_different_and_fit():
  texts = [f'{"long_" * 20}seed={seed}' for seed in range(3)]
  names = {dns_labels.label(text, '-slice-0-3-abcde') for text in texts}
  assert len(names) == 3
  assert all(RFC_1035.fullmatch(f'{name}-slice-0-3-abcde') for name in names)


@pytest.mark.parametrize(
  'name, expected',
  [
    ('Big', 'expected small letters, digits and hyphens, .* such as big'),
    ('a_b', 'such as a-b'),
    ('1a', 'such as run-1a'),
    ('a' * 60, r'60 characters, with -slice-0 after it 68, .*use at most 55'),
    ('a' * 55, None),
  ],
)
def test_a_chosen_name_is_not_changed_but_told(name, expected):
  found = dns_labels.problem('--name', name, '-slice-0')
  assert (found is None) == (expected is None)
  assert expected is None or re.search(f'--name={name}: .*{expected}', found)
