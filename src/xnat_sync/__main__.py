"""``python -m xnat_sync`` is ``xnat-sync``."""

from .face.cli import main

main()
