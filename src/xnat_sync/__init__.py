"""xnat-sync: mirror whole projects from an XNAT imaging archive, complete, verified and resumable."""

__version__ = "0.1.0"
