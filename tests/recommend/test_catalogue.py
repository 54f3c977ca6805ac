"""Items, ratings and tags of a folder, and titles that are nearly right."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.recommend import catalogue
from tests.recommend import films


def test_a_folder_is_read(items):
  assert len(items) == 31 and len(items.ratings) == 40 * 16
  assert items.text(0) == 'Comedy, part 0 (1980): Comedy, Drama'
  assert items.text(30) == 'Nothing known'
  assert items.long_texts()[15].endswith('Drama. trenches')
  assert items.long_texts(pairs={('2', 0)})[15].endswith('Drama')
  times = [one.time for one in items.ratings_of('7')]
  assert times == sorted(times) and len(times) == 16


def test_titles_are_found_in_any_case(items):
  assert items.find(' war, PART 3 (1983)') == 18


def test_an_unknown_title_names_the_nearest(items):
  with pytest.raises(DataError, match=r"did you mean 'War, part 3 \(1983\)'"):
    items.find('War part 3 (1983)')
  with pytest.raises(DataError, match=r"did you mean 'Comedy, part 1 \(1981\)'"):
    items.find('comedy, part 1')
  with pytest.raises(DataError, match='nothing there is like it'):
    items.find('zzzz')


def test_an_unknown_user_is_named_with_the_way_out(items):
  with pytest.raises(DataError, match='--user=400: no such user.*--likes'):
    items.ratings_of(400)


@pytest.mark.parametrize(
  'file, text, expected',
  [
    ('ratings.csv', 'user,movieId,rating,timestamp\n1,1,5,5\n', "no 'userId'"),
    ('ratings.csv', 'userId,movieId,rating,timestamp\n1,1,five,5\n', "rating='five'"),
    (
      'ratings.csv',
      'userId,movieId,rating,timestamp\n1,700,5,5\n',
      'movieId=700 is not',
    ),
    ('ratings.csv', 'userId,movieId,rating,timestamp\n', 'has no ratings'),
    ('movies.csv', 'movieId,name,genres\n1,a,b\n', "no 'title'"),
  ],
)
def test_files_that_are_wrong_are_named(tmp_path, file, text, expected):
  folder = films.write(tmp_path / 'films')
  (folder / file).write_text(text)
  with pytest.raises(DataError, match=expected):
    catalogue.load(folder)


def test_a_missing_file_is_named(tmp_path):
  (films.write(tmp_path / 'films') / 'movies.csv').unlink()
  with pytest.raises(DataError, match='has no movies.csv'):
    catalogue.load(tmp_path / 'films')
