"""Services that keep accepted jobs on their way: scheduler, redelivery, recovery, cleaner."""
