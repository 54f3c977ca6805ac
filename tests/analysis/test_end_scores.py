"""Scores of a task at the end of a run."""

import json
import math
import types

import pytest

from gpt_jax.analysis import end_scores
from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import ConfigError


@pytest.fixture
def result(tmp_path):
  scores = {'step': 9, 'test': {'accuracy': 0.75, 'f1': None}}
  (tmp_path / 'eval.json').write_text(json.dumps(scores))
  return types.SimpleNamespace(point=types.SimpleNamespace(workdir=tmp_path))


def test_a_score_is_that_of_the_file(result):
  assert end_scores.of('test/accuracy')(result) == 0.75


def test_a_score_that_is_not_defined_is_no_number(result):
  assert math.isnan(end_scores.of('test/f1')(result))


def test_a_misspelt_score_names_the_nearest(result):
  with pytest.raises(ConfigError, match="did you mean 'test/accuracy'"):
    end_scores.of('test/acuracy')(result)
  with pytest.raises(ConfigError, match='it has test/accuracy, test/f1'):
    end_scores.of('bleu')(result)


def test_a_run_before_its_end_is_not_enough(result):
  (result.point.workdir / 'eval.json').unlink()
  with pytest.raises(NotEnoughData, match='holds test/accuracy'):
    end_scores.of('test/accuracy')(result)
