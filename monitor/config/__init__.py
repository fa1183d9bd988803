"""Configuration: one TOML file, checked and frozen."""
