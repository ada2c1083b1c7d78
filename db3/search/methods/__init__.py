"""The searches, a file each."""
