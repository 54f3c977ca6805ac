"""Meshes, sharding rules, and several processes as one program."""
