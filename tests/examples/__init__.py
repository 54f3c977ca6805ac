"""Tests of gpt_jax.examples."""
