"""What Windows is asked for through ctypes: importable everywhere, callable on Windows."""
