"""Runs exported LiteRT files in LiteRT's interpreter."""
