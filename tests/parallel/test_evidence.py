"""Evidence of a run of several: its text, its variables, the GPUs of a process."""

import pytest

from gpt_jax.core.errors import UserError
from gpt_jax.parallel.evidence import Evidence, Variables, local_devices


def test_evidence_shows_what_was_read():
  found = Evidence('slurm', {'SLURM_PROCID': '1'}, 'n1:1', 2, 1, hosts=('n1', 'n2'))
  assert str(found) == 'slurm: SLURM_PROCID=1'
  assert [found.label(i) for i in (0, 1)] == ['0 (n1)', '1 (n2)']
  assert Evidence('jax', {}, 'n1:1', 2, 1).label(1) == '1'


def test_variables_remember_what_was_read():
  variables = Variables('here', {'A': '3', 'B': '', 'C': 'x'})
  assert (variables.number('A'), variables.get('B')) == (3, None)
  assert variables.number('B', 7) == 7
  assert variables.read == {'A': '3'}
  with pytest.raises(UserError, match="C='x': expected a whole number"):
    variables.number('C')
  with pytest.raises(UserError, match='here: A=3.* but B and D are not set'):
    Variables('here', {'A': '3'}).require('A', 'B', 'D')


@pytest.mark.parametrize(
  ('rank', 'count', 'environ', 'expected'),
  [
    (0, 1, {}, None),
    (1, 2, {}, (1,)),
    (1, 2, {'CUDA_VISIBLE_DEVICES': '0,1,2,3'}, (2, 3)),
    (1, 4, {'CUDA_VISIBLE_DEVICES': '0'}, None),
    (3, 4, {'ROCR_VISIBLE_DEVICES': '0,1,2,3'}, (3,)),
  ],
)
def test_processes_of_a_host_share_its_gpus(rank, count, environ, expected):
  assert local_devices(rank, count, environ) == expected
