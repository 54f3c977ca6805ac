"""Packaging: what `pip install -e .` brings, and what each extra adds."""

import setuptools

BASE = [
  'absl-py',
  'array_record>=0.8.1',
  'flax>=0.12',
  'grain>=0.2.15',
  'jax>=0.10',
  'matplotlib',
  'ml-collections>=1.1',
  'numpy',
  'optax>=0.2.6',
  'orbax-checkpoint>=0.12',
  'etils[epath]',  # orbax's path type
  'rich',
  'safetensors',
  'tensorboardX',
  'tensorflow-datasets>=4.9.9',
  'tokenizers',
]

EXTRAS = {
  # Accelerator builds of jax.
  'cuda': ['jax[cuda]>=0.10'],
  'tpu': ['jax[tpu]>=0.10'],
  # What single features need.
  'compare': ['torch', 'transformers'],  # the peer of gpt-jax bench --vs
  # The TPU's compiler; jax[tpu] pins an older one. No TPU is needed.
  'plan': ['libtpu>=0.0.52'],
  'sentencepiece': ['sentencepiece'],
  'wandb': ['wandb'],
  # What the people who change the code need.
  'test': ['pytest', 'pytest-xdist'],
  'lint': ['pyright[nodejs]', 'ruff'],
}

setuptools.setup(
  name='gpt_jax',
  version='0.1.0',
  description='A functional Flax GPT, driven by one config and compiled by XLA once.',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['gpt_jax', 'gpt_jax.*']),
  install_requires=BASE,
  extras_require=EXTRAS,
  entry_points={'console_scripts': ['gpt-jax = gpt_jax.cli:main']},
)
