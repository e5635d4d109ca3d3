"""What can be measured of a network while it trains: one file a kind, listed in `study.spec.measure_table`."""
