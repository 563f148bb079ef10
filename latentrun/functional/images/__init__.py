"""Pictures as mathematics: ellipses, fits, rigid motions."""
