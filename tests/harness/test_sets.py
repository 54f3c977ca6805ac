"""Local sets are read as they are published; what is not there is named."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.harness import sets


def test_records_have_their_labels(data_dir):
  assert [record['label'] for record in sets.piqa(data_dir)] == [0, 1, 0]
  assert sets.sst2(data_dir)[0] == {'sentence': 'a fine film', 'label': 1}
  assert [record['label'] for record in sets.rte(data_dir)] == [0, 1]
  assert [record['label'] for record in sets.ag_news(data_dir)] == [2, 1]
  assert sets.ag_news(data_dir)[0]['description'] == 'Up again'
  assert [record['label'] for record in sets.chnsenticorp(data_dir)] == [1, 0]
  assert sets.squad(data_dir)[0]['answers'] == ['rain', 'water']


def test_wikitext_is_cut_at_titles_and_not_at_sections(data_dir):
  one, two = (record['page'] for record in sets.wikitext(data_dir))
  assert '= = Part = =' in one and one.strip().startswith('= One =')
  assert two.split() == '= Two = Words .'.split()


def test_a_set_is_looked_for_in_three_places(data_dir, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.delenv('GPT_JAX_DATA', raising=False)
  with pytest.raises(DataError, match='data set piqa: no such folder .*GPT_JAX_DATA'):
    sets.folder('piqa')
  monkeypatch.setenv('GPT_JAX_DATA', str(data_dir))
  assert sets.folder('piqa') == data_dir / 'piqa'


def test_damaged_files_are_named(tmp_path):
  for name, text, message in (
    ('piqa/valid.jsonl', '{"goal"', 'valid.jsonl, line 1: not JSON'),
    ('piqa/valid.jsonl', '{}\n{}', '2 questions, but .* has 1 labels'),
    ('sst2/dev.tsv', 'no tab', "dev.tsv, line 1 has no such column; there are '0'"),
  ):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (path.parent / 'valid-labels.lst').write_text('0\n')
    with pytest.raises(DataError, match=message):
      getattr(sets, path.parent.name)(tmp_path)


def test_the_real_sets_have_their_published_sizes(shared_data):
  counts = {'piqa': 1838, 'sst2': 872, 'rte': 277, 'chnsenticorp': 1200, 'squad': 1190}
  for name, count in counts.items():
    assert len(getattr(sets, name)(shared_data)) == count
  assert len(sets.wikitext(shared_data)) == 62
