"""`overnight doctor`: what a night needs, looked at one by one; each fault with what to do about it."""
