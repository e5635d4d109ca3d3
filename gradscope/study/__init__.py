"""The engine of a study: a TOML file, a grid of trials, one comparison at the end."""
