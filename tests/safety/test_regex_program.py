"""Patterns are those of Python's re, less what needs backtracking."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.safety import regex_program


@pytest.mark.parametrize(
  'pattern, message',
  [
    (r'(a)\1', 'a back reference'),
    ('a(?=b)', 'looking ahead'),
    ('(?<!a)b', 'looking ahead or behind'),
    ('a++b', 'a possessive repeat'),
    ('(?>a)b', 'an atomic group'),
    ('(a', 'missing \\), unterminated subpattern at position 0'),
    ('a*', 'matches the empty text'),
    ('a|', 'matches the empty text'),
    ('(?:a{100}){100}', 'more than 5,000 states'),
  ],
)
def test_what_cannot_be_linear_is_refused(pattern, message):
  with pytest.raises(ConfigError, match=rf'^rule=.*{message}'):
    regex_program.compile_pattern(pattern, False, 'rule')


def test_a_program_has_a_node_for_each_character():
  program = regex_program.compile_pattern('ab{3}', False, 'rule')
  tests = [test for test in program.tests if test is not None]
  assert [sum(test(char) for test in tests) for char in 'abc'] == [1, 3, 0]
