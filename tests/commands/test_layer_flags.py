"""Flags for layers and drafts are fields of the section `inference`."""

import argparse

from gpt_jax.commands import layer_flags
from tests import small_models as small


def test_flags_that_were_given_become_overrides():
  parser = argparse.ArgumentParser()
  layer_flags.add(parser)
  args = parser.parse_args(['--draft=exit:1', '--draft_tokens=3'])
  found = layer_flags.overrides(args)
  assert found == {'inference.draft': 'exit:1', 'inference.draft_tokens': '3'}
  assert small.resolve(**found).inference.draft_tokens == 3
  everything = [f'--{name}=1' for name in layer_flags.FIELDS]
  assert len(layer_flags.overrides(parser.parse_args(everything))) == 7
