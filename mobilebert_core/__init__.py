"""What MobileBERT is, as data and text: nothing here imports a framework."""
