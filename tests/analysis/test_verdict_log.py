"""The log of verdicts: it only grows, and rules do not change behind its back."""

import concurrent.futures
import dataclasses

import pytest

from gpt_jax.analysis import verdict_log, verdicts
from gpt_jax.analysis.results import Results
from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.sweeps import Claim, Outcome
from tests.sweeps import fake_study


def below(level):
  def rule(results):
    mean = results.where(row='ours').mean('validation/loss')
    return Outcome(mean < level, {'mean': mean})

  return rule


CLAIM = Claim('low', 'Low.', 'nowhere', 'ordering', 'C', 'mean', rule=below(0.5))


@pytest.fixture
def study(tmp_path):
  return fake_study.make(tmp_path, lambda point: 1.0, claims=(CLAIM,))


def with_claim(study, **changes):
  claims = (dataclasses.replace(CLAIM, **changes),)
  experiment = dataclasses.replace(study.experiment, claims=claims)
  return dataclasses.replace(study, experiment=experiment)


def report(study):
  """Judges and logs as `gpt-jax report` does; returns what the log has gained."""
  judged = verdicts.judge(study, Results(study))
  logged = verdict_log.read(study.folder)
  verdict_log.require_same_rules(study, judged, logged)
  return verdict_log.record(study, judged)


def test_a_verdict_is_written_once_and_again_when_it_changes(study):
  (entry,) = report(study)
  assert entry['verdict'] == 'not reproduced'
  assert entry['numbers'] == {'mean': 1.0}
  assert list(entry['points']) == [f'ours,seed={seed}' for seed in (0, 1, 2)]
  assert 'mean < level' in entry['rule']
  assert report(study) == []
  fake_study.finish(study.points[-1], {'validation': {'loss': 2.0}})
  assert [e['numbers']['mean'] for e in report(study)] == [pytest.approx(4 / 3)]
  assert len(verdict_log.read(study.folder)) == 2


def test_a_changed_rule_needs_a_new_version(study):
  report(study)
  changed = with_claim(study, rule=below(1.5))
  with pytest.raises(ConfigError, match=r"'low': its rule has changed.*version=2"):
    report(changed)
  (entry,) = report(with_claim(study, rule=below(1.5), version=2))
  assert (entry['version'], entry['verdict']) == (2, 'reproduced')
  with pytest.raises(ConfigError, match='version=1, but .* a verdict of version 2'):
    report(study)


def test_a_claim_cannot_become_report_only_in_silence(study):
  report(study)
  with pytest.raises(ConfigError, match='its rule has changed'):
    report(with_claim(study, kind='report_only'))


def test_a_rule_may_change_until_it_has_a_verdict(tmp_path):
  study = fake_study.make(tmp_path, lambda p: p.axes['seed'] or None, claims=(CLAIM,))
  (entry,) = report(study)
  assert entry['verdict'] == 'not enough data'
  report(with_claim(study, rule=below(1.5)))


def test_old_versions_and_claims_that_are_gone_stay(study):
  report(study)
  newer = with_claim(study, rule=below(1.5), version=2)
  report(newer)
  judged = verdicts.judge(newer, Results(newer))
  logged = verdict_log.read(study.folder)
  (old,) = verdict_log.earlier(judged, logged)
  assert (old['version'], old['verdict']) == (1, 'not reproduced')
  assert len(verdict_log.earlier((), logged)) == 2


def test_a_line_that_a_kill_cut_off_harms_no_other(study):
  report(study)
  path = study.folder / verdict_log.FILE
  whole = path.read_bytes()
  path.write_bytes(whole + whole[: len(whole) // 2])
  assert len(verdict_log.read(study.folder)) == 1
  fake_study.finish(study.points[-1], {'validation': {'loss': 2.0}})
  report(study)
  assert len(verdict_log.read(study.folder)) == 2
  assert path.read_bytes().startswith(whole)


def test_reports_at_once_write_each_verdict_once(study):
  judged = verdicts.judge(study, Results(study))
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    made = list(pool.map(lambda _: verdict_log.record(study, judged), range(16)))
  assert sum(map(len, made)) == 1
  assert len(verdict_log.read(study.folder)) == 1


def test_nothing_run_leaves_no_log(tmp_path):
  study = fake_study.make(tmp_path, claims=(CLAIM,))
  assert report(study) == []
  assert not study.folder.exists()


def test_a_log_that_has_it_all_is_not_opened_for_writing(study, monkeypatch):
  report(study)
  monkeypatch.setattr(verdict_log, 'open', None, raising=False)
  assert report(study) == []


def test_a_claim_that_needs_no_run_is_logged(tmp_path):
  claim = dataclasses.replace(CLAIM, rule=lambda results: Outcome(True, {}))
  study = fake_study.make(tmp_path, claims=(claim,))
  assert [entry['verdict'] for entry in report(study)] == ['reproduced']


def test_a_log_that_cannot_be_written_is_told(study):
  (study.folder / verdict_log.FILE).mkdir()
  with pytest.raises(StorageError, match=verdict_log.FILE):
    report(study)
