"""An XNAT in a box: a real HTTP server on loopback that behaves as XNAT does, quirks included."""
