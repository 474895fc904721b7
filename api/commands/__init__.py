"""The commands, one module for each noun; `api.cli` loads them when they are asked for."""
