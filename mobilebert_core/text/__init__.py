"""Text in and out of the models: both tokenizers and what they return. Imports no framework."""
