"""Compiled models on other machines: over adb, and over TVM's RPC."""
