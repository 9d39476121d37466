"""The operators of a C4n model: attributes, definitions, repacked formats, float64 oracles."""
