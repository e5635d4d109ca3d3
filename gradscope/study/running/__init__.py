"""A whole study: trials given out to workers, waited for and compared."""
