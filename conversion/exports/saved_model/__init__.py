"""Runs exported SavedModels in TensorFlow."""
