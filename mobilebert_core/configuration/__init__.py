"""The configuration: its fields, its checks, the published architectures, and Hugging Face's JSON of it."""
