"""Names on the Hugging Face hub to directories on this machine."""
