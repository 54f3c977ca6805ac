"""Tests of gpt_jax.serving."""
