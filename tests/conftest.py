"""What all tests stand on: signals as a shell gives them, even where the tests were started by nohup or cron."""

from __future__ import annotations

import signal

signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
