"""A small MovieLens: people like one of two genres, and rate in time."""

import numpy as np

GENRES = ('Comedy', 'War')
PER_GENRE = 15


def write(folder, users=40, ratings=16, seed=0):
  """Writes movies.csv, ratings.csv and tags.csv; returns the folder.

  Films 1 to 15 are comedies, 16 to 30 of war. A user rates films of one genre 5 and a
  few others 2, one a minute.
  """
  rng = np.random.default_rng(seed)
  folder.mkdir(exist_ok=True)
  films = [
    f'{1 + g * PER_GENRE + i},"{genre}, part {i} ({1980 + i})",{genre}|Drama'
    for g, genre in enumerate(GENRES)
    for i in range(PER_GENRE)
  ]
  lines = []
  for user in range(1, users + 1):
    own = user % 2
    liked = 1 + own * PER_GENRE + rng.permutation(PER_GENRE)[: ratings - 4]
    other = 1 + (1 - own) * PER_GENRE + rng.permutation(PER_GENRE)[:4]
    rated = [(item, 5.0) for item in liked] + [(item, 2.0) for item in other]
    for minute, number in enumerate(rng.permutation(len(rated))):
      item, stars = rated[number]
      lines.append(f'{user},{item},{stars},{1_000_000 + minute * 60}')
  files = {
    'movies.csv': [
      'movieId,title,genres',
      *films,
      '99,Nothing known,(no genres listed)',
    ],
    'ratings.csv': ['userId,movieId,rating,timestamp', *lines],
    'tags.csv': ['userId,movieId,tag,timestamp', '1,16,trenches,5', '2,1,funny,5'],
  }
  for name, rows in files.items():
    (folder / name).write_text('\n'.join(rows) + '\n')
  return folder
