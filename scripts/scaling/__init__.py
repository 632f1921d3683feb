"""`scripts/scale`: what names cost as their number grows, against a server that makes them up."""
