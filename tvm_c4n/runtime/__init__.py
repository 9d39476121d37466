"""Run compiled models: load an artifact, read a prompt, make tokens."""
