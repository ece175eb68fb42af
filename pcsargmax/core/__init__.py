"""The method and nothing but the method: maps over sites, sampling-argmax, its bases, losses and regularizers."""
