"""What can be measured of a network while it trains: one file a kind, listed in `gradscope.study.measure_table`."""
