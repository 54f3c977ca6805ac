"""Names of TPU slices: what Google Cloud calls them, and which there are."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.launchers import slices
from gpt_jax.parallel.chips import TPUS


@pytest.mark.parametrize(
  'name, accelerator_type, chips, hosts, chips_per_host',
  [  # from the tables of cloud.google.com/tpu/docs/v4, v5e, v5p and v6e
    ('v5e:1x1', 'v5litepod-1', 1, 1, 1),
    ('v5e:2x2', 'v5litepod-4', 4, 1, 4),
    ('v5e:2x4', 'v5litepod-8', 8, 1, 8),
    ('v5e:4x4', 'v5litepod-16', 16, 4, 4),
    ('v5e:16x16', 'v5litepod-256', 256, 64, 4),
    ('v6e:8x8', 'v6e-64', 64, 16, 4),
    ('v4:2x2x1', 'v4-8', 4, 1, 4),
    ('v4:4x4x4', 'v4-128', 64, 16, 4),
    ('v5p:2x2x1', 'v5p-8', 4, 1, 4),
    ('v5p:16x16x24', 'v5p-12288', 6144, 1536, 4),
  ],
)
def test_a_slice_has_the_numbers_of_its_page(
  name, accelerator_type, chips, hosts, chips_per_host
):
  found = slices.parse(name)
  assert found.accelerator_type == accelerator_type
  assert (found.chips, found.hosts) == (chips, hosts)
  assert found.chips_per_host == chips_per_host
  assert found.name == name


def test_every_chip_that_plan_knows_can_be_launched_on():
  assert slices.KINDS.keys() == TPUS.keys()
  for chip, kind in slices.KINDS.items():
    assert {shape.count('x') + 1 for shape in kind.shapes} == {TPUS[chip].dims}


def test_several_slices_are_named_in_two_ways():
  assert slices.parse('2xv5e:4x4') == slices.parse('v5e:4x4', slices=2)
  assert slices.parse('2xv5e:4x4').name == '2xv5e:4x4'
  assert slices.parse('2xv5e:4x4').num_devices == 32
  assert slices.parse('tpu7x:2x2x1').num_devices == 8  # two devices a chip


@pytest.mark.parametrize(
  'text, expected',
  [
    ('v5e', 'expected CHIP:SHAPE'),
    ('v5e-16', 'expected CHIP:SHAPE.* did you mean v5e:4x4'),
    ('2xv5p-8', 'did you mean 2xv5p:2x2x1'),
    ('v5e-17', 'such as 2xv5e:4x4.$'),
    ('v7e:4x4', "no TPU is called v7e; .* did you mean 'v6e'"),
    ('v5e:4x4x4', 'expected 2 sizes; .*v5e:8x8'),
    ('v5e:3x4', 'no slice has this shape; .*v5e:2x4, v5e:4x4'),
    ('v5e:32x32', 'at most 256 chips, and these are 1024'),
    ('v5p:8x4x4', 'from the smallest to the largest'),
    ('v5p:4x4x6', 'a multiple of 4'),
    ('0xv5e:4x4', 'different numbers of slices'),
  ],
)
def test_a_wrong_name_is_told_with_those_that_exist(text, expected):
  with pytest.raises(ConfigError, match=f'--topology={text}.*{expected}'):
    slices.parse(text)


def test_two_numbers_of_slices_have_to_agree():
  with pytest.raises(ConfigError, match='different numbers of slices'):
    slices.parse('2xv5e:4x4', slices=3)


def test_other_shapes_of_whole_cubes_exist():
  assert slices.parse('v5p:4x4x16').chips == 256


def test_accelerator_types_are_recognized_as_slices():
  for chip, kind in slices.KINDS.items():
    for shape in kind.shapes if kind.prefix else ():
      wanted = slices.parse(f'{chip}:{shape}')
      meant = slices.of_accelerator_type(wanted.accelerator_type)
      assert slices.parse(meant).accelerator_type == wanted.accelerator_type
