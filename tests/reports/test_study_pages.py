"""Pages of studies in Markdown: made from runs, the same each time, old ones found."""

import dataclasses

import pytest

from gpt_jax.analysis import verdict_log
from gpt_jax.reports import report, study_pages
from gpt_jax.sweeps import Figure
from tests.reports.test_page import CLAIMS
from tests.sweeps import fake_study


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('pages')
  study = fake_study.make(folder, lambda p: 1.0 + p.config.seed, claims=CLAIMS[:3])
  return report.make_report(study), folder


def test_a_page_has_question_claims_table_and_runs(made):
  text = study_pages.page(made[0], [], made[1])
  assert text.startswith('# Does the fake method help?\n')
  assert (
    '**✓ 1 reproduced · ✗ 1 not reproduced · • 1 reported** · 6 of 6 points' in text
  )
  assert '### ✗ fails: not reproduced' in text
  assert '| number of fails | 0.75 |' in text
  assert '| base |' in text
  assert '`optimizer.weight_decay` 0.1 → 0.5' in text
  assert '- Commit: c0ffeec0ffee' in text
  assert '- Last run: 2026-01-01' in text


def test_a_claim_has_its_kind_its_evidence_and_its_rule(made):
  text = study_pages.page(made[0], [], made[1])
  assert 'Evidence: computed from a formula. Kind: floor, a bound that no' in text
  assert '<summary>Rule, version 1</summary>' in text
  assert '~~~~python\n' + made[0].verdicts[0].rule in text
  verdict_log.record(made[0].study, made[0].verdicts)
  text = study_pages.page(made[0], [], made[1])
  assert '<summary>Rule, version 1; first judged on 2' in text


def test_commits_with_changes_are_explained(made):
  report = dataclasses.replace(made[0], commits=('c0ffee+', 'decaf'))
  text = study_pages.page(report, [], made[1])
  assert 'Commit: c0ffee+, decaf (+: with changes that were not committed)' in text


def test_the_index_shows_numbers_rather_than_names(made):
  (first, *_) = made[0].verdicts
  numbers = {'lowest': 'inf', 'of': 'base,seed=0', 'a': 1, 'b': 2, 'c': 3}
  changed = dataclasses.replace(first, numbers=numbers)
  report = dataclasses.replace(made[0], verdicts=(changed,))
  text = study_pages.index([study_pages.IndexLine(report, made[1] / 'fake.md')])
  assert '| lowest: inf; a: 1; b: 2 |' in text


def test_a_page_made_again_has_the_same_bytes(made):
  found, folder = made
  entry = study_pages.write_page(found, folder / 'docs')
  before = entry.path.read_bytes()
  again = report.make_report(found.study)
  assert study_pages.write_page(again, folder / 'docs').path.read_bytes() == before


def test_a_page_is_old_once_its_file_changes(made):
  found, folder = made
  study_pages.write_page(found, folder / 'old')
  assert study_pages.stale(folder / 'old', folder) == []
  source = found.study.path
  text = source.read_text()
  source.write_text(text + '# changed\n')
  assert study_pages.stale(folder / 'old', folder) == [folder / 'old' / 'fake.md']
  source.write_text(text)


def test_the_index_counts_what_was_reproduced(made):
  found, folder = made
  entry = study_pages.IndexLine(found, folder / 'fake.md')
  text = study_pages.index([entry], [folder / 'later.py'])
  assert '1 studies, 3 claims: 1 reproduced, 1 not reproduced, 1 reported.' in text
  assert (
    '| [Does the fake method help?](fake.md) | ✓ holds<br>✗ fails<br>• told |' in text
  )
  assert '| 6 | 1.0 | 1 | c0ffeec0 |' in text
  assert 'Without results yet: `experiments/later.py`.' in text


@pytest.mark.parametrize(
  'text, escaped',
  [
    ('a | b', r'a \| b'), ('<script>', r'\<script\>'), ('two\n lines', 'two lines'),
    ('`[a]` and [b]', r'`[a]` and \[b\]'), ('2*d', r'2\*d'),
  ],
)  # fmt: skip
def test_text_is_escaped_for_markdown(text, escaped):
  assert study_pages.escape(text) == escaped


@pytest.mark.slow
def test_figures_lie_beside_the_page_and_stay_small(tmp_path, monkeypatch):
  study = fake_study.make(tmp_path, lambda p: 1.0, figures=(Figure('losses', 'Loss'),))
  made = report.make_report(study)
  study_pages.write_page(made, tmp_path / 'docs')
  place = tmp_path / 'docs' / 'figures' / 'fake'
  assert {path.name for path in place.iterdir()} == {'losses.png', 'losses.svg'}
  text = (tmp_path / 'docs' / 'fake.md').read_text()
  assert '](figures/fake/losses.svg)' in text
  monkeypatch.setattr(study_pages, 'MAX_FIGURE_BYTES', 10)
  study_pages.write_page(made, tmp_path / 'docs')
  assert {path.name for path in place.iterdir()} == {'losses.png'}
  assert '](figures/fake/losses.png)' in (tmp_path / 'docs' / 'fake.md').read_text()
