"""The tests mirror the folders they test; each test opens the small world that it needs."""
