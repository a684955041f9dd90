"""tmrepro."""
