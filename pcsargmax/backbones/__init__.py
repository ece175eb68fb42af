"""Networks that turn positions into features, one file each."""
