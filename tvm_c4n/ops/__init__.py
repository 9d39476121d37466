"""The operators of a C4n model: their attributes, plain definitions, packed layout and float64 oracles."""
