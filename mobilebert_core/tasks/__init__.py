"""What people use MobileBERT for, as text in and answers out. Imports no framework; a backend's runner computes."""
