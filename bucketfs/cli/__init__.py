"""Layer 0, person: argv to settings; the only place that prints, asks or exits."""
