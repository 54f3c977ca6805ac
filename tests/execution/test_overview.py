"""What status and dry runs show of a study."""

import json

from gpt_jax.execution import overview
from gpt_jax.sweeps import states
from tests.execution.test_runner import finish
from tests.sweeps import studies

ROWS = (
  "{'a': {}, 'b': {'model.d_ff': 8}, 'c': {'model.d_ff': 16}, 'd': {'model.d_ff': 8}}"
)


def test_what_is_done_failed_and_missing_is_told_with_reasons(tmp_path):
  study = studies.study(tmp_path, rows=ROWS, seeds='(0, 1)')
  finish(study.points[0].config, study.points[0].workdir)
  for point in study.points[1:4]:
    states.write_failure(point, 'loss is nan', 6)
  found = overview.survey(study)
  assert found.counts() == {'done': 1, 'failed': 3, 'missing': 2}
  text = '\n'.join(found.lines())
  assert '6 points: 1 done, 3 failed, 2 missing' in text
  assert 'failed   a,seed=1, b,seed=0 and 1 more: loss is nan' in text
  assert 'd,seed=0 = b,seed=0' in text
  assert 'takes about' in text
  assert sum(line.startswith('  ') for line in found.lines(of_all=True)) == 6
  as_json = json.loads(json.dumps(found.as_json()))
  assert as_json['points'][1]['why'] == 'loss is nan'
  assert as_json['counts'] == found.counts()
