"""The commands of the command line, one file each; they print, the library does not."""
