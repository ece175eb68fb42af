"""How predictions and distributions look in a notebook."""
