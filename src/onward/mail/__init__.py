"""E-mail: composing messages, and sending them to a folder or an SMTP server."""
